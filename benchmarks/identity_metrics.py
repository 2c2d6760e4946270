"""How well a score tells pairs of one body from pairs of different bodies, and whether a probability keeps its word."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from engine.evidence.reliability import ReliabilityBin


class Separation(NamedTuple):
    """Figures of one score; higher scores speak for one body."""

    auc: float
    """Area under the ROC curve: how often a pair of one body scores above one of two."""
    equal_error_rate: float
    """Share of wrong decisions at the threshold where both kinds are wrong equally often."""
    true_accepts: float
    """Share of pairs of one body that are accepted where 1 % of the others are."""


FALSE_ACCEPTS = 0.01


def separation(score: Float[np.ndarray, " pairs"], same: Bool[np.ndarray, " pairs"]) -> Separation:
    """Compare the scores of the two kinds of pairs; a score that is not finite counts as the lowest.

    Raises:
        ValueError: pairs of one kind are missing.
    """
    if same.all() or not same.any():
        raise ValueError("pairs of one body and of different bodies are needed; one kind is missing")
    score = np.where(np.isfinite(score), score, -np.inf)
    positives, negatives = int(same.sum()), int((~same).sum())
    ranks = rankdata(score)
    auc = (ranks[same].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    thresholds = np.unique(score)
    below_same = np.searchsorted(np.sort(score[same]), thresholds, side="left")
    below_different = np.searchsorted(np.sort(score[~same]), thresholds, side="left")
    # Accepting everything at and above a threshold; the last entry accepts nothing.
    misses = np.append(below_same / positives, 1.0)
    false_accepts = np.append(1 - below_different / negatives, 0.0)
    crossing = np.argmin(np.abs(misses - false_accepts))
    accepted = 1 - misses[false_accepts <= FALSE_ACCEPTS].min()
    return Separation(float(auc), float(misses[crossing] + false_accepts[crossing]) / 2, float(accepted))


def plot_reliability(path: Path, curves: dict[str, list[ReliabilityBin]]) -> bool:
    """Draw predicted probability against the actual share; False where matplotlib is not installed."""
    try:
        import matplotlib.figure  # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    figure = matplotlib.figure.Figure(figsize=(5, 5))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    for name, rows in curves.items():
        axes.plot([row.predicted for row in rows], [row.actual for row in rows], marker="o", label=name)
    axes.set_xlabel("same_body_probability")
    axes.set_ylabel("share of pairs of one body")
    axes.legend()
    figure.savefig(path, dpi=150)
    return True
