"""The outline of a projected mesh as closed lines: triangles are painted into a mask, whose edge is traced.

The union of tens of thousands of triangles is not computed exactly. A mask with a side of several hundred pixels gives
a line with an error of a five-hundredth of the person, and works for every triangle.
"""

import contourpy
import numpy as np
from jaxtyping import Float, Int
from PIL import Image, ImageDraw, ImageFilter

_SIDE = 640
"""Side of the mask, pixels."""
_MARGIN = 8
_SMALLEST_AREA = 80.0
"""Least area within a line, squared pixels of the mask; a narrow gap between two legs is not part of the outline."""


def silhouette(
    points: Float[np.ndarray, "vertices 2"], faces: Int[np.ndarray, "faces 3"]
) -> list[Float[np.ndarray, "corners 2"]]:
    """Closed lines around everything that the triangles cover, holes included, in the units of ``points``."""
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (_SIDE - 2 * _MARGIN) / max(float((high - low).max()), 1e-9)
    places = (points - low) * scale + _MARGIN
    width, height = (np.ceil((high - low) * scale).astype(int) + 2 * _MARGIN).tolist()
    mask = Image.new("L", (width, height))
    painter = ImageDraw.Draw(mask)
    for triangle in places[faces].reshape(-1, 6).tolist():
        painter.polygon(triangle, fill=255)
    # A blurred edge gives a smooth line with positions between pixels.
    soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(1.5)), float)
    lines = [np.asarray(line) for line in contourpy.contour_generator(z=soft).lines(127.5)]
    return [(line - _MARGIN) / scale + low for line in lines if _area(line) > _SMALLEST_AREA]


def _area(line: Float[np.ndarray, "corners 2"]) -> float:
    x, y = line.T
    return abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1])) / 2
