"""Decoded pictures share a bounded memory: whoever finds none left waits, and is told to come again in the end."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.scan.dicom_files import make
from xray_app.errors import BadScan, Busy
from xray_app.scan.decoding import DECODING, DECODING_TWICE, HELD, Limits, Room
from xray_app.scan.read import browser_picture, read_scan, read_scans, upright_picture

SIDE = 100
PIXELS = SIDE * SIDE


def encoded(picture_format: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), "white").save(out, picture_format)
    return out.getvalue()


PNG = encoded("PNG")


def limits(most: float, seconds: float = 0.05, **more: Any) -> Limits:
    return Limits(10**6, 10**6, Room(most, seconds), **more)


def test_a_picture_is_counted_as_long_as_somebody_holds_it() -> None:
    desk = limits(10**9)
    scan = read_scan(PNG, "a.png", desk)
    assert desk.room.taken == PIXELS * HELD
    turned = scan.image.rotate(90)
    del scan
    assert desk.room.taken == 0
    assert turned.size == (SIDE, SIDE)


@pytest.mark.parametrize(
    ("picture_format", "each"), [("PNG", DECODING), ("TIFF", DECODING_TWICE), ("WEBP", DECODING_TWICE)]
)
def test_a_picture_waits_for_room_by_its_size(picture_format: str, each: int) -> None:
    content = encoded(picture_format)
    for most, fits in ((PIXELS * (HELD + each), True), (PIXELS * (HELD + each) - 1, False)):
        desk = limits(most)
        first = read_scan(content, "a", desk)
        if fits:
            assert read_scan(content, "b", desk).width == first.width
        else:
            with pytest.raises(Busy):
                read_scan(content, "b", desk)


def test_room_is_given_back_after_damage_and_refusal() -> None:
    desk = limits(10**9)
    with pytest.raises(BadScan):
        read_scan(PNG[:-30], "a.png", desk)
    with pytest.raises(BadScan):
        read_scan(make(np.zeros((SIDE, SIDE), np.uint16))[:-900], "a.dcm", desk)
    assert desk.room.taken == 0


def test_a_picture_larger_than_all_room_is_read_alone() -> None:
    desk = limits(PIXELS)
    scan = read_scan(PNG, "a.png", desk)
    assert scan.width == SIDE
    with pytest.raises(Busy):
        read_scan(PNG, "a.png", desk)
    del scan
    assert read_scan(PNG, "a.png", desk).width == SIDE


def test_every_way_to_a_picture_goes_through_the_same_room() -> None:
    desk = limits(PIXELS)
    deep = make(np.full((SIDE, SIDE), 900, np.uint16))
    ways = [
        lambda: read_scan(PNG, "a", desk),
        lambda: read_scans(PNG, "a", desk),
        lambda: read_scans(deep, "a", desk),
        lambda: upright_picture(PNG, desk),
        lambda: upright_picture(deep, desk),
        lambda: browser_picture(PNG, desk),
        lambda: browser_picture(deep, desk),
    ]
    with desk.decoding(PIXELS):
        for way in ways:
            with pytest.raises(Busy, match="Try again"):
                way()
    for way in ways:
        assert way()


def test_who_waits_gets_room_as_soon_as_there_is_some() -> None:
    desk = limits(PIXELS * DECODING, seconds=30)
    with ThreadPoolExecutor(1) as pool:
        with desk.decoding(PIXELS):
            waiting = pool.submit(read_scan, PNG, "a.png", desk)
            time.sleep(0.1)
            assert not waiting.done()
        assert waiting.result(timeout=10).width == SIDE


def test_the_patient_wait_longer_than_the_bound() -> None:
    desk = limits(PIXELS * DECODING, seconds=0.05, patient=True)
    with ThreadPoolExecutor(1) as pool:
        with desk.decoding(PIXELS):
            waiting = pool.submit(read_scan, PNG, "a.png", desk)
            time.sleep(0.3)
            assert not waiting.done()
        assert waiting.result(timeout=10).width == SIDE


def test_a_large_picture_is_not_overtaken_for_ever() -> None:
    room = Room(100, seconds=30)
    order: list[str] = []

    def take(name: str, size: int) -> None:
        with room.decoding(size, 1):
            order.append(name)

    with room.decoding(60, 1):
        threads = []
        for name, size in (("large", 90), ("small", 10)):
            threads.append(threading.Thread(target=take, args=(name, size)))
            threads[-1].start()
            time.sleep(0.1)
        assert order == []
    for thread in threads:
        thread.join(10)
    assert order == ["large", "small"]


def test_never_more_than_the_room_holds() -> None:
    room = Room(1000, seconds=30)
    most: list[float] = []

    def read(number: int) -> None:
        with room.decoding(100 + number % 7 * 50, 1) as work:
            most.append(room.taken)
            image = work.keep(Image.new("RGB", (5, 5)))
            time.sleep(0.001)
        del image

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(read, range(200)))
    # What is kept is counted on top until the work on it ends.
    assert max(most) <= 1000 + 16 * 5 * 5 * HELD
    assert room.taken == 0
