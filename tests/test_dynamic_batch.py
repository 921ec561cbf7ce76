"""Work that waits is done together, each in its turn, and a failure is its own item's."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest

from xray_app.dynamic_batch import DynamicBatch


class Work:
    """Doubles numbers; holds its first batch until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.leave = threading.Event(), threading.Event()
        self.inside = 0

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.inside += 1
        assert self.inside == 1
        self.batches.append(list(items))
        self.begun.set()
        assert self.leave.wait(20)
        self.inside -= 1
        for item in items:
            if item < 0:
                raise {-1: ValueError, -2: KeyError}[item](f"{item} in {list(items)}")
        return [2 * item for item in items]


def ask(work: Work, items: Sequence[int], most: int = 4, **limits: Any) -> list[Future[int]]:
    """The first is being done while the others come, one by one."""
    batch = DynamicBatch(work, most, **limits)
    pool = ThreadPoolExecutor(len(items))
    asked = []
    for number, item in enumerate(items):
        asked.append(pool.submit(batch, item))
        if number == 0:
            assert work.begun.wait(20)
        while len(batch._waiting) < number:
            time.sleep(0.001)
    work.leave.set()
    wait(asked, 20)
    pool.shutdown()
    return asked


def test_what_waits_is_done_together_in_the_order_it_came() -> None:
    work = Work()
    asked = ask(work, range(11))
    assert [one.result() for one in asked] == [2 * item for item in range(11)]
    assert work.batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


def test_a_batch_is_no_heavier_than_it_may_be_and_what_is_too_heavy_is_done_by_itself() -> None:
    work = Work()
    asked = ask(work, [0, 3, 4, 4, 50, 1, 2], weight=float, heaviest=10)
    assert [one.result() for one in asked] == [0, 6, 8, 8, 100, 2, 4]
    assert work.batches == [[0], [3, 4], [4], [50], [1, 2]]


def test_a_lone_item_does_not_wait_for_others() -> None:
    work = Work()
    work.leave.set()
    batch = DynamicBatch(work, 4)
    assert [batch(item) for item in (1, 2, 3)] == [2, 4, 6]
    assert work.batches == [[1], [2], [3]]


def test_a_failure_is_told_to_whom_it_belongs_and_the_others_get_their_results() -> None:
    work = Work()
    asked = ask(work, [0, 1, -1, 3, -2])
    assert [one.result() for one in asked[:2]] == [0, 2]
    with pytest.raises(ValueError, match=r"-1 in \[-1\]"):
        asked[2].result()
    assert asked[3].result() == 6
    with pytest.raises(KeyError):
        asked[4].result()


def test_after_two_alike_in_a_row_the_rest_of_the_batch_is_not_tried() -> None:
    work = Work()
    asked = ask(work, [0, -1, -1, 3, 4, 5])
    for one in asked[1:5]:
        with pytest.raises(ValueError, match="-1 in"):
            one.result()
    assert work.batches[1:] == [[-1, -1, 3, 4], [-1], [-1], [5]]
    assert asked[5].result() == 10


def test_two_of_different_kinds_do_not_stop_the_rest() -> None:
    work = Work()
    asked = ask(work, [0, -1, -2, -1, 4])
    assert [type(one.exception()) for one in asked] == [type(None), ValueError, KeyError, ValueError, type(None)]
    assert asked[4].result() == 8


def test_what_a_stopped_thread_left_undone_is_done_by_another() -> None:
    class Stopped(BaseException):
        pass

    work, stopped = Work(), []

    def stops_once(items: Sequence[int]) -> list[int]:
        result = work(items)
        if len(items) > 1 and not stopped:
            stopped.append(items)
            raise Stopped
        return result

    batch = DynamicBatch(stops_once, 4)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(batch, 0)]
        assert work.begun.wait(20)
        asked += [pool.submit(batch, item) for item in (1, 2, 3)]
        while len(batch._waiting) < 3:
            time.sleep(0.001)
        work.leave.set()
    failed = [one for one in asked if one.exception() is not None]
    assert len(failed) == 1, "the thread that was stopped"
    assert isinstance(failed[0].exception(), Stopped)
    assert sum(one.result() for one in asked if one not in failed) == 12 - 2 * asked.index(failed[0])


def test_nothing_is_done_while_somebody_is_alone() -> None:
    work = Work()
    work.leave.set()
    batch = DynamicBatch(work, 4)
    with ThreadPoolExecutor(1) as pool:
        with batch.alone():
            asked = pool.submit(batch, 5)
            time.sleep(0.05)
            assert work.batches == []
        assert asked.result(20) == 10
        with pytest.raises(ZeroDivisionError), batch.alone():
            raise ZeroDivisionError
        assert batch(6) == 12
