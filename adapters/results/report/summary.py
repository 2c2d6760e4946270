"""The summary of a data set that ``samebody score`` prints, for the head of the page."""

from typing import Any

import numpy as np

from adapters.results.report.scores import Scores
from adapters.results.vocabulary import DIFFER, MATCH


def summarise(scores: Scores) -> dict[str, Any]:
    """Counts over all rows of the result, drawn or not."""
    consistency = scores.numbers["consistency"]
    known = consistency[~np.isnan(consistency)]
    summary: dict[str, Any] = {
        "rows": len(scores),
        "by_status": {status: scores.status.count(status) for status in sorted(set(scores.status))},
        "median_consistency": float(np.median(known)) if len(known) else None,
        "match_at": MATCH,
        "differ_at": DIFFER,
    }
    if "same_body_probability" in scores.numbers:
        probability = scores.numbers["same_body_probability"]
        match, differ = int(np.sum(probability >= MATCH)), int(np.sum(probability <= DIFFER))
        summary |= {"match": match, "differ": differ, "unclear": int(np.sum(~np.isnan(probability))) - match - differ}
    return summary
