"""Reading, computing and writing at the same time, with little in memory.

One thread reads, the caller's thread computes, another thread writes. Queues of a few items connect them, so memory
does not grow with the data, and the slowest of the three sets the pace. Items stay in order. The first failure
anywhere, an interrupt included, stops all three and is raised by ``stream``; items read before a reading error are
still computed and written.

Threads suffice: pyarrow, XLA and file operations release the interpreter lock while they work.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_ITEMS_WAITING = 2
"""Items between two stages. One is enough for stages of constant speed; two smooth out a slow file."""


@dataclass
class StageSeconds:
    """Working time of each stage without waiting. Stages overlap, so their sum may exceed ``wall``."""

    reading: float = 0.0
    computing: float = 0.0
    writing: float = 0.0
    wall: float = 0.0


class _Stopped(Exception):
    """Another stage has failed."""


class _Channel(Generic[Item]):
    """A bounded queue that can be ended from both sides."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._finished = False
        self._stopped = False

    def put(self, item: Item) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._items) < _ITEMS_WAITING)
            if self._stopped:
                raise _Stopped
            self._items.append(item)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._finished or bool(self._items))
                if self._stopped:
                    raise _Stopped
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def finish(self) -> None:
        """Announce that no more items will be put."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Announce that no more items will be taken."""
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()


class _Stage(threading.Thread):
    """A thread that keeps the exception with which it failed."""

    def __init__(self, name: str, work: Callable[[], None], end: Callable[[], None]) -> None:
        super().__init__(name=f"samebody-{name}", daemon=True)
        self._work = work
        self._end = end
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except _Stopped:
            pass
        except BaseException as failure:
            self.failure = failure
        finally:
            self._end()


def stream(read: Iterable[Item], compute: Callable[[Item], Result], write: Callable[[Result], None]) -> StageSeconds:
    """``write(compute(item))`` for every item, in order, the three overlapping.

    Args:
        read: iterated in a thread of its own.
        compute: called in the caller's thread.
        write: called in a thread of its own.

    Raises:
        Exception: the exception of the first stage that failed.
    """
    seconds = StageSeconds()
    begin = time.perf_counter()
    read_items: _Channel[Item] = _Channel()
    results: _Channel[Result] = _Channel()

    def reading() -> None:
        items = iter(read)
        try:
            while True:
                start = time.perf_counter()
                try:
                    item = next(items)
                except StopIteration:
                    return
                finally:
                    seconds.reading += time.perf_counter() - start
                read_items.put(item)
                del item
        finally:
            # A generator closes its files here, not when the garbage collector finds it.
            close = getattr(items, "close", None)
            if close is not None:
                close()

    def writing() -> None:
        for result in results:
            start = time.perf_counter()
            write(result)
            seconds.writing += time.perf_counter() - start

    def stop() -> None:
        read_items.stop()
        results.stop()

    reader = _Stage("reader", reading, read_items.finish)
    # If the writer ends early, more computing would be useless.
    writer = _Stage("writer", writing, stop)
    reader.start()
    writer.start()
    try:
        for item in read_items:
            start = time.perf_counter()
            result = compute(item)
            seconds.computing += time.perf_counter() - start
            results.put(result)
            del item, result
        results.finish()
        writer.join()
    except _Stopped:
        pass
    finally:
        stop()
        reader.join()
        writer.join()
    for stage in (writer, reader):
        if stage.failure is not None:
            raise stage.failure
    seconds.wall = time.perf_counter() - begin
    return seconds
