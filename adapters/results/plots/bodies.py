"""Bodies side by side, from the front and from the side, at the same overall size, coloured by their difference.

Bodies stand with their arms lowered. Stature cannot be seen in a picture, so every body after the first is fitted to
the first by translation and scale, in rest pose, before distances are taken. Girth follows the limbs as in the
population.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize

from adapters.results.plots.people import posed_mesh
from adapters.results.plots.style import (
    DIFFERENCE,
    FONT,
    INK,
    SMALL,
    SOFT,
    STAGE,
    TEXT,
    ShownFigure,
    empty_axes,
    new_figure,
)
from engine.body.model import BodyModel
from engine.body.schema_tables import SMPL_24

VIEWS: Mapping[str, float] = {"front": 0.0, "side": -90.0, "back": 180.0}
"""Turn of the body about its vertical axis, degrees; the side view shows the left."""
_LIGHT = np.array([-0.4, 0.6, 0.8]) / np.linalg.norm([-0.4, 0.6, 0.8])
_ARMS_LOWERED_RAD = 1.02
_PANEL_IN = 2.3
_LEAST_RANGE_MM = 20.0
"""Least range of the colours, so that small differences stay pale."""
_COLOURS = LinearSegmentedColormap.from_list("difference", DIFFERENCE)


class ShapeDifference(NamedTuple):
    """Distance of a body from another after the best translation and scale."""

    distance_mm: Float[np.ndarray, " vertices"]
    scale: float
    """Factor of its lengths."""


class _Mesh(NamedTuple):
    name: str
    vertices: Float[np.ndarray, "vertices 3"]
    distance_mm: Float[np.ndarray, " vertices"] | None
    """None for the first mesh, which the others are compared with."""


def body_views(
    body: BodyModel,
    shapes: Mapping[str, Float[np.ndarray, " betas"]],
    views: Sequence[str] = ("front", "side"),
    title: str | None = None,
) -> ShownFigure:
    """A figure of one or several shapes of a body.

    Args:
        shapes: betas by name; the others are compared with the first.
        views: some of ``VIEWS``.

    Raises:
        ValueError: no shapes or views, an unknown view, or a body without SMPL's layout.
    """
    if not shapes or not views:
        raise ValueError("body views need at least one shape and one view")
    if unknown := sorted(set(views) - set(VIEWS)):
        raise ValueError(f"no view {', '.join(unknown)}; there are: {', '.join(VIEWS)}")
    if body.joint_count != len(SMPL_24):
        raise ValueError(f"{body.name} has {body.joint_count} joints; body views need SMPL's {len(SMPL_24)}")
    meshes = _meshes(body, shapes)
    distances = [mesh.distance_mm for mesh in meshes if mesh.distance_mm is not None]
    most = max([_LEAST_RANGE_MM, *(np.ceil(np.quantile(distance, 0.99) / 10) * 10 for distance in distances)])
    range_mm = Normalize(0, most)
    panels = [(mesh, view) for mesh in meshes for view in views]
    faces = np.asarray(body.faces)
    half_height = max(np.ptp(mesh.vertices[:, 1]) for mesh in meshes) / 2 * 1.04
    half_width = max(np.abs(mesh.vertices[:, [0, 2]]).max() for mesh in meshes) * 1.06
    height = _PANEL_IN * half_height / half_width + 0.55 + (0.3 if title else 0)
    figure = new_figure(_PANEL_IN * len(panels) + (0.75 if distances else 0), height)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (mesh, view) in zip(grid, panels, strict=True):
        _draw(axes, mesh, VIEWS[view], faces, range_mm)
        axes.set_xlim(-half_width, half_width)
        axes.set_ylim(-half_height, half_height)
        axes.set_xlabel(view, fontsize=SMALL, color=SOFT, fontfamily=FONT)
        if view == views[0]:
            axes.set_title(
                mesh.name, loc="left", fontsize=TEXT, fontweight="bold", color=INK, fontfamily=FONT, parse_math=False
            )
    if distances:
        bar = figure.colorbar(ScalarMappable(range_mm, _COLOURS), ax=list(grid), shrink=0.5, aspect=24, pad=0.02)
        bar.set_label(f"mm from {meshes[0].name}", fontsize=SMALL, color=SOFT, fontfamily=FONT, parse_math=False)
        bar.ax.tick_params(labelsize=SMALL, colors=SOFT, labelfontfamily=FONT)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize=TEXT, color=SOFT, fontfamily=FONT, parse_math=False)
    return figure


def shape_difference(
    reference: Float[np.ndarray, "vertices 3"], other: Float[np.ndarray, "vertices 3"]
) -> ShapeDifference:
    """Difference between two meshes in the same pose, which are given in metres."""
    ours = reference - reference.mean(axis=0)
    theirs = other - other.mean(axis=0)
    scale = float(np.sum(ours * theirs) / np.sum(theirs**2))
    return ShapeDifference(1000 * np.linalg.norm(scale * theirs - ours, axis=1), scale)


def _meshes(body: BodyModel, shapes: Mapping[str, np.ndarray]) -> list[_Mesh]:
    standing = np.zeros((len(SMPL_24), 3))
    standing[SMPL_24.index("left_shoulder"), 2] = -_ARMS_LOWERED_RAD
    standing[SMPL_24.index("right_shoulder"), 2] = _ARMS_LOWERED_RAD
    rest = {name: posed_mesh(body, betas, np.zeros_like(standing))[0] for name, betas in shapes.items()}
    first = next(iter(rest.values()))
    meshes = []
    for number, (name, betas) in enumerate(shapes.items()):
        difference = shape_difference(first, rest[name])
        vertices = difference.scale * posed_mesh(body, betas, standing)[0]
        middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        meshes.append(_Mesh(name, vertices - middle, difference.distance_mm if number else None))
    return meshes


def _draw(axes: Axes, mesh: _Mesh, degrees: float, faces: Int[np.ndarray, "faces 3"], range_mm: Normalize) -> None:
    """Draw the faces towards the viewer, far ones first, lit from the upper left."""
    turn = np.deg2rad(degrees)
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    vertices = mesh.vertices @ rotation.T
    corners = vertices[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # Shading uses the mean normals of the corners: flat normals would show every triangle.
    at_vertices = np.zeros_like(vertices)
    np.add.at(at_vertices, faces.ravel(), np.repeat(flat, 3, axis=0))
    normals = at_vertices[faces].mean(axis=1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    shown = np.flatnonzero(flat[:, 2] > 0)
    shown = shown[np.argsort(corners[shown, :, 2].mean(axis=1), kind="stable")]
    amount = np.zeros(len(faces)) if mesh.distance_mm is None else mesh.distance_mm[faces].mean(axis=1)
    colours = _lit(_COLOURS, range_mm(amount[shown]), normals[shown])
    empty_axes(axes, STAGE)
    axes.set_aspect("equal", adjustable="box")
    # The mesh is rasterised in SVG and PDF too: ten thousand triangles as vectors take megabytes.
    triangles = [*corners[shown, :, :2]]
    axes.add_collection(
        PolyCollection(triangles, facecolors=colours, edgecolors=colours, linewidths=0.35, rasterized=True),
        autolim=False,
    )


def _lit(colours: Colormap, amount: np.ndarray, normals: Float[np.ndarray, "faces 3"]) -> Float[np.ndarray, "faces 3"]:
    light = 0.46 + 0.44 * np.maximum(normals @ _LIGHT, 0) + 0.16 * np.maximum(normals[:, 2], 0)
    return np.clip(colours(np.asarray(amount))[:, :3] * np.minimum(light, 1.06)[:, None], 0, 1)
