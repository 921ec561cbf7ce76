"""The memory that decoded pictures may take together: a small file can hold fifty million pixels, and eight at a
time would fill the machine."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from PIL import Image, _imaging

from xray_app.errors import Busy

DECODING = 12
"""Bytes a pixel takes at most while it is decoded: the decoder's own, the picture, and a turned copy."""
DECODING_TWICE = 24
"""The same of a WebP, whose decoder keeps two pictures of its own, and of a TIFF, whose library keeps its strips."""
HELD = 4
"""Bytes a pixel of a decoded picture takes: Pillow keeps red, green and blue in four."""
BYTES = 850 * 2**20
"""What decoded pictures may take together: one of fifty million pixels at work while another is with the models."""
BLOCK = 64 * 2**20
"""Bytes in which Pillow asks for the memory of a large picture. Its own 16 MiB come from malloc's arenas, which keep
them when the picture is gone, each thread's arena its own; past 32 MiB they go back to the system at once."""
SECONDS = 30.0
"""Longest wait for room; whoever waits longer is told to come again."""

_imaging.set_block_size(BLOCK)


class Room:
    """Room in memory for decoded pictures, given in the order of asking.

    It is taken before a picture is decoded, by the size in its header, and given back when the picture is gone:
    a scan that waits for the models still holds its own.
    """

    def __init__(self, most: float = BYTES, seconds: float = SECONDS) -> None:
        """Makes room.

        Args:
            most: bytes that decoded pictures may take together. A picture that needs more than this by itself is
                decoded when no other is held.
            seconds: longest wait.
        """
        self.most = most
        self.seconds = seconds
        self.taken = 0
        # Re-entrant: a picture may be collected, and give its room back, while this thread holds the lock.
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[object] = deque()

    @contextmanager
    def decoding(self, pixels: int, each: int = DECODING, *, patient: bool = False) -> Iterator[Work]:
        """Room to decode this many pixels of so many bytes each. What `Work.keep` was given stays counted after it.

        Args:
            pixels: of the picture.
            each: bytes a pixel takes while it is decoded.
            patient: wait for as long as it takes.

        Raises:
            Busy: there was no room in time.
        """
        self._take(pixels * each, math.inf if patient else self.seconds)
        work = Work(self)
        try:
            yield work
        finally:
            self._give_back(pixels * each)

    def _take(self, size: int, seconds: float) -> None:
        ticket = object()
        until = time.monotonic() + seconds
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or (self.taken and self.taken + size > self.most):
                    left = until - time.monotonic()
                    if left <= 0:
                        raise Busy("Too many large pictures are being read. Try again in a few seconds.")
                    self._changed.wait(min(left, 60))
                self.taken += size
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _hold(self, size: int) -> None:
        with self._changed:
            self.taken += size

    def _give_back(self, size: int) -> None:
        with self._changed:
            self.taken -= size
            self._changed.notify_all()


class Work:
    """One picture being decoded."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def keep(self, image: Image.Image) -> Image.Image:
        """The picture, which is counted from now on until nobody holds it."""
        size = image.width * image.height * HELD
        self._room._hold(size)
        weakref.finalize(image, self._room._give_back, size).atexit = False
        return image


UNLIMITED = Room(math.inf)
"""For a program that reads one picture after the other: nothing waits."""


@dataclass(frozen=True)
class Limits:
    """What an upload may be at most.

    Attributes:
        max_bytes: of the file.
        max_pixels: of the picture, or of all views together.
        room: memory that decoded pictures share; the desk has one for all its doors.
        patient: wait for room for as long as it takes, as work does that nobody waits for.
    """

    max_bytes: int
    max_pixels: int
    room: Room = UNLIMITED
    patient: bool = False

    def decoding(self, pixels: int, each: int = DECODING) -> AbstractContextManager[Work]:
        """As `Room.decoding`."""
        return self.room.decoding(pixels, each, patient=self.patient)
