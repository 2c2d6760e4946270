"""Tests the keypoints of a file as a whole for a wrong order, squashed pictures and exchanged axes.

``plausibility`` measures single rows. This module judges the rows of all input together, of each folder and of each
file, since one source among several may be wrong. Medians of rows (benchmarks/results.md, "Implausible keypoints"):

    real and simulated detections         stretch 0.16 to 0.41    clutter 1.4 to 2.2    width 0.95 to 1.3
    OpenPose's order read as COCO-17      stretch 0.75 to 0.91    clutter 3.5 to 4.2
    Human3.6M's order                     stretch 0.43 to 1.0     clutter 3.9 to 4.7
    Goliath's order, first 17             stretch 0.56 to 0.57    clutter 1.8 to 2.2
    pictures twice as wide as they were   stretch 0.55 to 0.74    clutter 2.0 to 2.5    width 2.1 to 2.5
    pictures half as wide                                                               width 0.52 to 0.64

A single picture is less informative than many, and a video of one pose counts as one picture. Rows are therefore
counted by their number of different values, and few values have wider bounds. If people both lie and are mirrored, x
and y are exchanged.
"""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Int

from adapters.keypoints.plausibility import CAUSES, Measures, Numbers


@dataclass(frozen=True)
class Bounds:
    """Beyond these a median is implausible."""

    stretch: float
    clutter: float
    narrow: float
    wide: float


SEVERAL = Bounds(stretch=0.5, clutter=2.8, narrow=0.7, wide=1.8)
FEW = Bounds(stretch=0.75, clutter=3.3, narrow=0.55, wide=2.2)
"""Bounds for few rows, and for videos of few poses."""
LYING, MIRRORED = 0.8, 0.9
"""x and y are exchanged if both shares are beyond these."""
FEWEST_ROWS = 20
"""Files and folders with fewer rows are judged only as part of all input."""

_SEVERAL_STRETCHES, _SEVERAL_WIDTHS = 8, 4
"""Least number of different values for the stricter bounds."""
_BINS, _COARSE = 512, 8
_MOST_PROBLEMS = 5


@dataclass
class Histogram:
    """A histogram of values from 0 to ``end``; larger ones count in the last bin."""

    end: float
    counts: np.ndarray = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def add(self, values: Numbers) -> None:
        """Count those that are not NaN."""
        known = values[~np.isnan(values)]
        if len(known):
            bins = np.minimum((known / self.end * _BINS).astype(np.int64), _BINS - 1)
            self.counts += np.bincount(bins, minlength=_BINS)

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    @property
    def different(self) -> int:
        """The count of values that differ by more than those of a held pose."""
        return int(np.count_nonzero(self.counts.reshape(-1, _COARSE).any(axis=1)))

    def median(self) -> float:
        """The median of the values; there must be at least one."""
        cumulative = np.cumsum(self.counts)
        return float(np.searchsorted(cumulative, cumulative[-1] / 2)) / _BINS * self.end


@dataclass
class Share:
    """The share of flags that are set."""

    total: int = 0
    flagged: int = 0

    def add(self, flags: Numbers) -> None:
        """Count those that are not NaN."""
        self.total += int(np.count_nonzero(~np.isnan(flags)))
        self.flagged += int(np.count_nonzero(flags == 1))

    @property
    def value(self) -> float:
        return self.flagged / max(self.total, 1)


@dataclass
class Tally:
    """Histograms of rows that come in pieces, so that memory does not grow."""

    stretch: Histogram = field(default_factory=lambda: Histogram(4.0))
    clutter: Histogram = field(default_factory=lambda: Histogram(8.0))
    width: Histogram = field(default_factory=lambda: Histogram(4.0))
    lying: Share = field(default_factory=Share)
    mirrored: Share = field(default_factory=Share)

    def add(self, measures: Measures) -> None:
        """Count some rows."""
        for name, values in vars(measures).items():
            getattr(self, name).add(values)

    def problem(self) -> str | None:
        """The problem of the rows as a whole; None if there is none."""
        return self._distances() or self._width() or self._axes()

    def _distances(self) -> str | None:
        if not self.stretch.total:
            return None
        most = SEVERAL if self.stretch.different >= _SEVERAL_STRETCHES else FEW
        found = self.stretch.median(), self.clutter.median()
        if found[0] <= most.stretch and found[1] <= most.clutter:
            return None
        return (
            f"these keypoints are implausible as a whole: neighbours are too far apart (stretch {found[0]:.2f}, of "
            f"people at most {most.stretch}; clutter {found[1]:.1f}, at most {most.clutter}); {CAUSES}"
        )

    def _width(self) -> str | None:
        # Upright people must be the majority; otherwise they may be unusual poses.
        if not self.width.total or 2 * self.width.total < self.lying.total:
            return None
        bounds = SEVERAL if self.width.different >= _SEVERAL_WIDTHS else FEW
        found = self.width.median()
        if bounds.narrow <= found <= bounds.wide:
            return None
        return (
            f"these keypoints are implausible as a whole: people are too {'narrow' if found < 1 else 'wide'} "
            f"(shoulders and heads are {found:.2f} of the usual, of people {bounds.narrow} to {bounds.wide}); likely "
            "cause: pictures that were resized without keeping their proportions"
        )

    def _axes(self) -> str | None:
        if self.lying.value < LYING or self.mirrored.value < MIRRORED:
            return None
        return (
            "these keypoints are implausible as a whole: people lie with the head on the left, and left and right of "
            f"them are exchanged ({self.mirrored.value:.0%}); likely cause: x and y exchanged"
        )


@dataclass
class FilesPlausibility:
    """Rows of all files, counted in the order of the files, and their problems."""

    paths: tuple[str, ...] = ()
    """Paths of the files; none or one if the rows have one source."""
    whole: Tally = field(default_factory=Tally)
    _problems: list[str] = field(default_factory=list)
    _open: dict[str, tuple[str, Tally]] = field(default_factory=dict)
    """The place of each kind (folder or file) whose rows are being counted, with its tally."""

    def add(self, measures: Measures, files: Int[np.ndarray, " images"] | None = None) -> None:
        """Count some rows.

        Args:
            files: the index in ``paths`` of each row.
        """
        self.whole.add(measures)
        if files is None or len(self.paths) < 2:
            return
        folders, folder = self._folders
        if len(folders) > 1:
            for start, stop in _runs(folder[files]):
                self._add("folder", folders[folder[files[start]]], measures.rows(start, stop))
        for start, stop in _runs(files):
            # A short file is complete here and is not judged alone.
            if stop - start >= FEWEST_ROWS or start == 0 or stop == len(files):
                self._add("file", self.paths[files[start]], measures.rows(start, stop))

    @cached_property
    def _folders(self) -> tuple[list[str], Int[np.ndarray, " files"]]:
        names = [os.path.dirname(path) for path in self.paths]
        folders = list(dict.fromkeys(names))
        number = {name: k for k, name in enumerate(folders)}
        return folders, np.array([number[name] for name in names])

    def problems(self) -> Iterator[str]:
        """The problem of all rows together; if there is none, those of folders; without these, those of files."""
        for kind in list(self._open):
            self._close(kind)
        whole = self.whole.problem()
        yield from [whole] if whole else self._problems[:_MOST_PROBLEMS]

    def _add(self, kind: str, place: str, measures: Measures) -> None:
        if kind in self._open and self._open[kind][0] != place:
            self._close(kind)
        self._open.setdefault(kind, (place, Tally()))[1].add(measures)

    def _close(self, kind: str) -> None:
        place, tally = self._open.pop(kind)
        problem = tally.problem() if tally.stretch.total >= FEWEST_ROWS else None
        if problem is not None and len(self._problems) < _MOST_PROBLEMS:
            self._problems.append(f"{place}: {problem}")


def _runs(codes: Int[np.ndarray, " images"]) -> Iterator[tuple[int, int]]:
    """Boundaries of runs of equal neighbours."""
    if len(codes):
        starts = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1, [len(codes)]])
        yield from ((int(start), int(stop)) for start, stop in itertools.pairwise(starts))
