"""Pictures with their keypoints, the fitted reference body, and the differences between the two.

A missing picture is replaced by an empty background. An arrow of true length goes from a keypoint to its position on
the reference body.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from PIL import Image

from adapters.results.plots.people import DrawnPerson
from adapters.results.plots.style import (
    ARROW,
    BODY,
    FONT,
    HALO,
    INK,
    POINT,
    SMALL,
    STAGE,
    TEXT,
    ShownFigure,
    empty_axes,
    new_figure,
)
from adapters.results.report.thumbnails import Thumbnail

PARTS = ("outline", "skeleton", "keypoints", "arrows")
"""Parts of a drawing, in their order."""
_PANEL_IN = 3.4
PROPORTION = 1.28
"""Height of a panel over its width."""
_SHORTEST_ARROW, _LONGEST_BARB = 0.01, 0.022
"""Lengths as shares of the panel's side; shorter arrows are points."""
_BARB_RAD = 0.45


@dataclass(frozen=True)
class Panel:
    """One picture of a figure."""

    person: DrawnPerson
    picture: Thumbnail | None = None
    """Picture cut to the person; None draws on an empty background."""
    title: str = ""
    remark: str = ""
    """A second, smaller line."""


def overlay(panels: Sequence[Panel], parts: Sequence[str] = PARTS, columns: int = 4) -> ShownFigure:
    """A figure of one or several pictures side by side.

    Args:
        parts: some of ``PARTS``.
        columns: largest number of columns.

    Raises:
        ValueError: no pictures, or an unknown part.
    """
    if not panels:
        raise ValueError("an overlay needs at least one picture")
    if unknown := sorted(set(parts) - set(PARTS)):
        raise ValueError(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    wide = max(min(columns, len(panels)), 1)
    high = -(-len(panels) // wide)
    figure = new_figure(_PANEL_IN * wide, (_PANEL_IN * PROPORTION + 0.35) * high + 0.35)
    grid = figure.subplots(high, wide, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    drawn = [part for part in PARTS if part in parts]
    for axes, panel in zip(grid.flat, panels, strict=False):
        axes.set_visible(True)
        _draw(axes, panel, drawn)
    if keys := _legend(drawn, panels):
        figure.legend(
            handles=keys,
            loc="outside lower left",
            ncols=min(len(keys), 2 * wide - 1),
            frameon=False,
            prop={"family": FONT, "size": SMALL},
            handlelength=1.6,
            columnspacing=1.4,
        )
    return figure


def _draw(axes: Axes, panel: Panel, parts: Sequence[str]) -> None:
    person = panel.person
    left, top, right, bottom = _view(panel)
    empty_axes(axes, STAGE)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal", adjustable="box", anchor="NW")
    if panel.picture is not None:
        frame = panel.picture.frame
        pixels = np.asarray(Image.open(io.BytesIO(panel.picture.jpeg)))
        edges = (frame.left_px, frame.left_px + frame.width / frame.scale)
        ends = (frame.top_px + frame.height / frame.scale, frame.top_px)
        axes.imshow(pixels, extent=(*edges, *ends), interpolation="lanczos")
        axes.set_xlim(left, right)
        axes.set_ylim(bottom, top)
    draw = {"outline": _outline, "skeleton": _skeleton, "arrows": _arrows, "keypoints": _keypoints}
    for part in parts:
        draw[part](axes, person)
    if panel.title:
        axes.set_title(
            panel.title,
            loc="left",
            fontsize=TEXT,
            fontweight="bold",
            color=INK,
            fontfamily=FONT,
            pad=18 if panel.remark else 6,
            parse_math=False,
        )
    if panel.remark:
        axes.annotate(
            panel.remark,
            (0, 1),
            (0, 5),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=SMALL,
            color=INK,
            fontfamily=FONT,
            parse_math=False,
        )


def _view(panel: Panel) -> tuple[float, float, float, float]:
    """The shown part of the picture: its cut, or the person."""
    if panel.picture is not None:
        frame = panel.picture.frame
        right, bottom = frame.left_px + frame.width / frame.scale, frame.top_px + frame.height / frame.scale
        return frame.left_px, frame.top_px, right, bottom
    return panel.person.frame(PROPORTION)


def _halo(width: float) -> list[patheffects.AbstractPathEffect]:
    return [patheffects.Stroke(linewidth=width, foreground=HALO, alpha=0.75), patheffects.Normal()]


def _outline(axes: Axes, person: DrawnPerson) -> None:
    if not person.outline_px:
        return
    whole = Outline.make_compound_path(*(Outline(line, closed=True) for line in person.outline_px))
    axes.add_patch(PathPatch(whole, facecolor=BODY, alpha=0.17, linewidth=0))
    axes.add_patch(PathPatch(whole, facecolor="none", edgecolor=BODY, linewidth=1.7, joinstyle="round"))


def _skeleton(axes: Axes, person: DrawnPerson) -> None:
    if not person.bones:
        return
    lines = LineCollection(
        [person.joints_px[list(bone)] for bone in person.bones], colors=BODY, linewidths=2.0, capstyle="round"
    )
    lines.set_path_effects(_halo(3.8))
    axes.add_collection(lines, autolim=False)


def _arrows(axes: Axes, person: DrawnPerson) -> None:
    side = abs(float(np.diff(axes.get_xlim())[0]))
    drawn = _with_arrow(person, side)
    strokes = []
    for start, way in zip(person.keypoints_px[drawn], -person.residuals_px[drawn], strict=True):
        angle = np.arctan2(way[1], way[0]) + np.pi + np.array([_BARB_RAD, -_BARB_RAD])
        barb = min(_LONGEST_BARB * side, 0.6 * float(np.hypot(*way)))
        ends = start + way + barb * np.column_stack([np.cos(angle), np.sin(angle)])
        strokes += [np.stack([start, start + way]), np.stack([ends[0], start + way, ends[1]])]
    lines = LineCollection(strokes, colors=ARROW, linewidths=1.4, capstyle="round", joinstyle="round", zorder=6)
    lines.set_path_effects(_halo(2.8))
    axes.add_collection(lines, autolim=False)


def _with_arrow(person: DrawnPerson, side_px: float) -> Int[np.ndarray, " drawn"]:
    """Keypoints whose arrow is long enough to be seen in a panel of that width."""
    length = np.linalg.norm(person.residuals_px, axis=1)
    return np.flatnonzero((person.confidence > 0) & (length > _SHORTEST_ARROW * side_px))


def _keypoints(axes: Axes, person: DrawnPerson) -> None:
    seen = person.confidence > 0
    points = axes.scatter(*person.keypoints_px[seen].T, s=20, color=POINT, edgecolors=HALO, linewidths=0.9, zorder=5)
    # Keypoints with low confidence are drawn faintly.
    points.set_alpha((0.35 + 0.65 * np.clip(person.confidence[seen], 0, 1)).tolist())


def _legend(parts: Sequence[str], panels: Sequence[Panel]) -> list[Line2D]:
    """Legend of the signs in the figure."""
    bodies = any(panel.person.bones for panel in panels)
    arrows = any(len(_with_arrow(panel.person, _view(panel)[2] - _view(panel)[0])) for panel in panels)
    keys = []
    if bodies and {"outline", "skeleton"} & set(parts):
        keys.append(Line2D([], [], color=BODY, linewidth=2.0, label="reference body, fitted"))
    if "keypoints" in parts:
        style = {"marker": "o", "markerfacecolor": POINT, "markeredgecolor": HALO, "markersize": 5.5}
        keys.append(Line2D([], [], linestyle="none", label="seen keypoint", **style))
    if arrows and "arrows" in parts:
        arrow = Line2D([], [], color=ARROW, linewidth=1.5, label="to where the body has it")
        arrow.set_path_effects(_halo(3.2))
        keys.append(arrow)
    return keys
