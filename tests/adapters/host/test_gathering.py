"""Jobs of many clients put together."""

import threading
from collections.abc import Callable

import pytest
from fastapi import HTTPException

from adapters.host.api import gathering
from adapters.host.api.gathering import Gathered

_PATIENCE_S = 30


class Held:
    """Work that waits until it is told to go on, and remembers what it was given."""

    def __init__(
        self, most_at_once: int = 100, answer: Callable[[int], int | Exception] = lambda job: 10 * job
    ) -> None:
        self.begun, self.release = threading.Semaphore(0), threading.Event()
        self.batches: list[list[int]] = []
        self._answer = answer
        self.queue: Gathered[int, int] = Gathered(self._work, lambda job: job, most_at_once)

    def _work(self, jobs: list[int]) -> list[int | Exception]:
        self.batches.append(jobs)
        self.begun.release()
        assert self.release.wait(_PATIENCE_S)
        return [self._answer(job) for job in jobs]

    def hold(self):
        """Keep the thread busy with a first job."""
        first = self.queue.submit(0)
        assert self.begun.acquire(timeout=_PATIENCE_S)
        return first


def test_what_arrives_during_one_batch_is_the_next() -> None:
    held = Held()
    first = held.hold()
    others = [held.queue.submit(job) for job in (1, 2, 3)]
    held.release.set()
    assert [future.result(_PATIENCE_S) for future in (first, *others)] == [0, 10, 20, 30]
    assert held.batches == [[0], [1, 2, 3]]


def test_batches_are_bounded_and_a_larger_job_comes_alone() -> None:
    held = Held(most_at_once=5)
    held.hold()
    others = [held.queue.submit(job) for job in (2, 3, 1, 50, 1)]
    held.release.set()
    assert [future.result(_PATIENCE_S) for future in others] == [20, 30, 10, 500, 10]
    assert held.batches == [[0], [2, 3], [1], [50], [1]]


def test_a_cancelled_job_is_never_begun() -> None:
    held = Held()
    held.hold()
    dropped, kept = held.queue.submit(1), held.queue.submit(2)
    assert dropped.cancel()
    held.release.set()
    assert kept.result(_PATIENCE_S) == 20
    assert held.batches == [[0], [2]]


def test_one_error_is_one_client_s_and_a_common_one_everybody_s() -> None:
    held = Held(answer=lambda job: ValueError("two") if job == 2 else job)
    held.hold()
    futures = [held.queue.submit(job) for job in (1, 2, 3)]
    held.release.set()
    assert futures[0].result(_PATIENCE_S) == 1
    with pytest.raises(ValueError, match="two"):
        futures[1].result(_PATIENCE_S)
    assert futures[2].result(_PATIENCE_S) == 3

    def broken(jobs: list[int]) -> list[int]:
        raise OSError("the disk is full")

    queue: Gathered[int, int] = Gathered(broken, lambda job: 1, 10)
    with pytest.raises(OSError, match="full"):
        queue.submit(1).result(_PATIENCE_S)


def test_a_line_that_is_too_long(monkeypatch) -> None:
    monkeypatch.setattr(gathering, "MOST_WAITING", 2)
    held = Held()
    held.hold()
    waiting = [held.queue.submit(job) for job in (1, 2)]
    with pytest.raises(HTTPException) as refused:
        held.queue.submit(3)
    assert refused.value.status_code == 503
    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"] == "5"
    held.release.set()
    assert [future.result(_PATIENCE_S) for future in waiting] == [10, 20]
