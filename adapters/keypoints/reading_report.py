"""Counts of the rows of keypoint files by status, with the reason of the first unusable row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from adapters.keypoints.file_plausibility import FilesPlausibility
from adapters.keypoints.table import KeypointTable
from engine.scores import Status

_UNUSABLE = {Status.BAD_INPUT: "could not be read", Status.IMPLAUSIBLE: "cannot be a person"}


@dataclass
class ReadingReport:
    """Counts over tables that come one after the other."""

    rows: int = 0
    readable: int = 0
    outlined: int = 0
    """The count of people with an outline."""
    nobody: int = 0
    """The count of pictures in which nobody was found."""
    unusable: dict[Status, int] = field(default_factory=dict)
    reasons: dict[Status, str] = field(default_factory=dict)
    """The first reason of each kind."""
    plausibility: FilesPlausibility = field(default_factory=FilesPlausibility)

    def clear(self, paths: Sequence[str] = ()) -> None:
        """Forget all rows.

        Args:
            paths: the files that will be read.
        """
        self.rows = self.readable = self.nobody = self.outlined = 0
        self.unusable, self.reasons, self.plausibility = {}, {}, FilesPlausibility(tuple(paths))

    def add(self, table: KeypointTable) -> None:
        """Count the rows of a table."""
        self.rows += len(table)
        self.readable += int(np.sum(table.status == Status.OK))
        self.nobody += int(np.sum(table.status == Status.NO_DETECTION))
        self.outlined += table.outlined
        for status in _UNUSABLE:
            found = np.flatnonzero(table.status == status)
            if len(found):
                self.unusable[status] = self.unusable.get(status, 0) + len(found)
                self.reasons.setdefault(status, table.detail[int(found[0])].as_py() or "no reason is given")

    def lines(self) -> Iterator[str]:
        """One line for each kind of row that cannot be used, and one if all rows together look wrong."""
        for status, what in _UNUSABLE.items():
            if status in self.unusable:
                yield f"{self.unusable[status]:,} of {self.rows:,} rows {what}; the first: {self.reasons[status]}"
        yield from self.plausibility.problems()

    def check(self) -> None:
        """
        Raises:
            ValueError: there are rows, but all of them are unusable.
        """
        if self.rows and not self.readable and not self.nobody:
            status = next(iter(self.unusable))
            raise ValueError(f"none of {self.rows:,} rows can be used; the first: {self.reasons[status]}")

    def check_references(self, force: bool) -> None:
        """
        Args:
            force: accept implausible keypoints.

        Raises:
            ValueError: nobody can be used as a reference.
        """
        self.check()
        if self.rows and not self.readable:
            raise ValueError(f"nobody was found in {self.nobody:,} reference pictures; there is nothing to fit")
        problem = next(self.plausibility.problems(), None)
        if problem and not force:
            raise ValueError(f"{problem}; --force fits them nevertheless")
