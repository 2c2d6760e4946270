"""Three stages at once: everything in order, bounded, and nobody left hanging when one of them fails."""

import threading
import time
from collections.abc import Iterator

import pytest

from adapters.jobs.streaming import stream


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("samebody-")}


@pytest.mark.parametrize("slow", ["read", "compute", "write"])
def test_items_stay_in_order_whichever_stage_is_slow(slow: str) -> None:
    def pause(stage: str) -> None:
        time.sleep(0.002 if stage == slow else 0)

    def read() -> Iterator[int]:
        for item in range(30):
            pause("read")
            yield item

    def compute(item: int) -> int:
        pause("compute")
        return item * item

    written: list[int] = []

    def write(item: int) -> None:
        pause("write")
        written.append(item)

    stream(read(), compute, write)
    assert written == [item * item for item in range(30)]


def test_no_more_than_a_few_items_exist_at_once() -> None:
    alive = most = 0
    lock = threading.Lock()

    def count(change: int) -> None:
        nonlocal alive, most
        with lock:
            alive += change
            most = max(most, alive)

    def read() -> Iterator[int]:
        for item in range(100):
            count(1)
            yield item

    def write(item: int) -> None:
        time.sleep(0.001)
        count(-1)

    stream(read(), lambda item: item, write)
    assert alive == 0
    assert most <= 8


@pytest.mark.parametrize("failing", ["read", "compute", "write"])
def test_a_failure_stops_every_stage_and_reaches_the_caller(failing: str) -> None:
    closed = threading.Event()
    written: list[int] = []

    def fail(stage: str, item: int) -> None:
        if stage == failing and item == 10:
            raise OSError(f"no space left in {stage}")

    def read() -> Iterator[int]:
        try:
            for item in range(1_000_000_000):
                fail("read", item)
                yield item
        finally:
            closed.set()

    def compute(item: int) -> int:
        fail("compute", item)
        return item

    def write(item: int) -> None:
        fail("write", item)
        written.append(item)

    with pytest.raises(OSError, match=f"no space left in {failing}"):
        stream(read(), compute, write)
    assert closed.is_set()
    assert _threads() == set()
    assert written == list(range(len(written)))
    if failing == "read":
        # What was read before the file broke off is not lost.
        assert written == list(range(10))


def test_an_interrupt_stops_the_other_stages() -> None:
    def compute(item: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream(iter(range(1_000_000)), compute, lambda item: None)
    assert _threads() == set()


def test_nothing_to_read_is_nothing_to_do() -> None:
    written: list[int] = []
    stream([], lambda item: item, written.append)
    assert written == []


def test_the_stages_overlap() -> None:
    """Each stage waits for the others' next item: one after the other they would wait for ever."""
    barrier = threading.Barrier(3, timeout=30)

    def read() -> Iterator[int]:
        for item in range(5):
            if item >= 2:
                barrier.wait()
            yield item

    def compute(item: int) -> int:
        if 1 <= item < 4:
            barrier.wait()
        return item

    def write(item: int) -> None:
        if item < 3:
            barrier.wait()

    stream(read(), compute, write)
