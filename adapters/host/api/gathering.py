"""Batches of many clients' jobs: while one batch is computed, the next one gathers."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from fastapi import HTTPException

Job = TypeVar("Job")
Answer = TypeVar("Answer")

MOST_WAITING = 512
"""Longest line of jobs; further clients are refused, so that their bodies do not fill memory."""


class Gathered(Generic[Job, Answer]):
    """One thread that takes all waiting jobs, up to a size, and computes them together.

    A single job is begun at once. Cancelling a future before its job is begun drops the job.
    """

    def __init__(
        self,
        work: Callable[[list[Job]], Sequence[Answer | Exception]],
        size: Callable[[Job], int],
        most_at_once: int,
    ) -> None:
        """
        Args:
            work: returns an answer, or an error, for each of some jobs. An exception of it is the answer to all.
            most_at_once: largest sum of sizes that are computed together; a larger job is computed alone.
        """
        self._work = work
        self._size = size
        self._most_at_once = most_at_once
        self._waiting: deque[tuple[Job, Future[Answer]]] = deque()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "samebody")

    def submit(self, job: Job) -> "Future[Answer]":
        """The future answer.

        Raises:
            HTTPException: 503, too many are in line.
        """
        answer: Future[Answer] = Future()
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                raise HTTPException(503, "too many requests are waiting; try again later", {"Retry-After": "5"})
            self._waiting.append((job, answer))
        self._thread.submit(self._work_off)
        return answer

    def _take(self) -> list[tuple[Job, "Future[Answer]"]]:
        taken: list[tuple[Job, Future[Answer]]] = []
        total = 0
        with self._lock:
            while self._waiting and (not taken or total + self._size(self._waiting[0][0]) <= self._most_at_once):
                job, answer = self._waiting.popleft()
                if answer.set_running_or_notify_cancel():
                    taken.append((job, answer))
                    total += self._size(job)
        return taken

    def _work_off(self) -> None:
        taken = self._take()
        if not taken:
            return
        try:
            answers = self._work([job for job, _ in taken])
        except Exception as error:
            answers = [error] * len(taken)
        for (_, future), answer in zip(taken, answers, strict=True):
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
