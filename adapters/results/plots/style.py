"""Colours of figures, as in the light theme of the report's page, and figures that a notebook shows directly."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, SOFT, LINE, GROUND, STAGE = "#1c2126", "#59626c", "#dfdcd5", "#ffffff", "#e9e6df"
ABOVE, BELOW = "#2f8fa0", "#d9804a"
"""Colours of scores at or above a threshold, and below it."""
MATCH, DIFFER = "#0a6372", "#a33d05"
"""The same two colours for text."""
BODY, HALO, POINT, ARROW = "#39b7ff", "#080e16", "#ff9d2e", "#ffe14d"
"""Colours of drawings over a picture."""
DIFFERENCE = ("#ede8de", "#f5b859", "#cc541a", "#5c1417")
"""Colours of one hue from light to dark, readable without colour vision."""

FONT = "DejaVu Sans"
"""A font that comes with matplotlib, so that figures look the same everywhere."""
TITLE, TEXT, SMALL = 13, 10, 8.5
"""Points."""


class ShownFigure(Figure):
    """A figure that a notebook shows as the value of a cell; matplotlib's own figures need pyplot for that."""

    def _repr_png_(self) -> bytes:
        return self.encoded("png")

    def encoded(self, kind: str, dpi: float = 144) -> bytes:
        """Content of a file of that kind (``png``, ``svg``, ``pdf``), without a date: one figure gives the same
        bytes."""
        stream = io.BytesIO()
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        self.savefig(stream, format=kind, dpi=dpi, metadata=undated.get(kind))
        return stream.getvalue()


def new_figure(width_in: float, height_in: float) -> ShownFigure:
    """An empty figure, in inches."""
    return ShownFigure(figsize=(width_in, height_in), facecolor=GROUND, layout="constrained")


def title_of(figure: Figure, text: str) -> None:
    """Set a title at the left; dollar signs are not formulas, because names of pictures may hold them."""
    figure.suptitle(
        text, x=0.02, ha="left", fontsize=TITLE, fontweight="bold", color=INK, fontfamily=FONT, parse_math=False
    )


def empty_axes(axes: Axes, ground: str = GROUND) -> None:
    """Remove frame and ticks."""
    axes.set_facecolor(ground)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def plain_axes(axes: Axes, sides: Sequence[str] = ("bottom",)) -> None:
    """Show ticks as small text, and a thin line on the given sides only."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in sides)
        spine.set_color(LINE)
    axes.tick_params(colors=SOFT, labelsize=SMALL, labelfontfamily=FONT, length=3, color=LINE)
