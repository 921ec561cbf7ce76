"""Dynamic batching: what comes while other work is being done is done together once that is, and waits no longer."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    done: Future[Result] = field(default_factory=Future)


class DynamicBatch(Generic[Item, Result]):
    """Does one batch at a time, in the order in which its items came. There is no thread of its own: of those who
    wait, one does the work of all."""

    def __init__(
        self,
        work: Callable[[Sequence[Item]], list[Result]],
        most: int,
        weight: Callable[[Item], float] = lambda _: 0.0,
        heaviest: float = math.inf,
    ) -> None:
        """
        Args:
            work: gives the results of some items, in their order.
            most: items in a batch.
            weight: of an item.
            heaviest: what the items of a batch may weigh together; one that weighs more is done by itself.
        """
        self._work = work
        self._most = most
        self._weight = weight
        self._heaviest = heaviest
        self._changed = threading.Condition()
        self._busy = False
        self._waiting: deque[_Waiting[Item, Result]] = deque()

    def __call__(self, item: Item) -> Result:
        """The result of one item; blocks until it is there.

        Raises:
            whatever the work raises of this item. Where it fails for several together, each is tried alone, until two
            in a row have failed alike: then the rest fail so too, as with a server that is away.
        """
        mine: _Waiting[Item, Result] = _Waiting(item)
        with self._changed:
            self._waiting.append(mine)
        while True:
            with self._changed:
                while self._busy and not mine.done.done():
                    self._changed.wait()
                if mine.done.done():
                    return mine.done.result()
                self._busy = True
                batch = self._next()
            try:
                self._do(batch)
            finally:
                self._free([one for one in batch if not one.done.done()])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within, no batch is done."""
        with self._changed:
            while self._busy:
                self._changed.wait()
            self._busy = True
        try:
            yield
        finally:
            self._free()

    def _next(self) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        weighs = 0.0
        while self._waiting and len(batch) < self._most:
            weighs += self._weight(self._waiting[0].item)
            if batch and weighs > self._heaviest:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _free(self, undone: Sequence[_Waiting[Item, Result]] = ()) -> None:
        """Lets the next one begin, first with what a thread that was stopped has left undone."""
        with self._changed:
            self._busy = False
            self._waiting.extendleft(reversed(undone))
            self._changed.notify_all()

    def _do(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        try:
            done = list(zip(batch, self._work([one.item for one in batch]), strict=True))
        except Exception as error:  # noqa: BLE001  # told to those it belongs to
            if len(batch) == 1:
                batch[0].done.set_exception(error)
            else:
                self._do_each(batch)
            return
        for one, result in done:
            one.done.set_result(result)

    def _do_each(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        failed: Exception | None = None
        alike = 0
        for one in batch:
            if alike < 2:
                try:
                    (result,) = self._work([one.item])
                except Exception as error:  # noqa: BLE001  # it is its item's, and told whoever waits for it
                    alike = alike + 1 if type(error) is type(failed) else 1
                    failed = error
                else:
                    alike = 0
                    one.done.set_result(result)
                    continue
            one.done.set_exception(failed)
