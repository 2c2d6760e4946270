"""Figures for notebooks and scripts (extra ``plot``): scores, pictures with their bodies, bodies.

scored        a result file in a notebook: summary and figures
histograms    the distribution of scores
overlays      a picture, its keypoints, the fitted reference body, and their differences
bodies        bodies side by side from several sides, coloured by their difference
people        the drawing of one person in one picture
silhouette    the outline of a mesh
style         colours, and figures that show themselves

Figures are built without pyplot: they change no global state and need no closing.
"""

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError("figures need matplotlib; get it with: pip install 'samebody[plot]'") from error

from adapters.results.plots.bodies import body_views
from adapters.results.plots.histograms import score_histogram
from adapters.results.plots.overlays import overlay
from adapters.results.plots.scored import ScoredPictures, open_scores

__all__ = ["ScoredPictures", "body_views", "open_scores", "overlay", "score_histogram"]
