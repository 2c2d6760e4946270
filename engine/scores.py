"""The statuses, and the one list of columns of a result.

Both are a contract. Files (Parquet, CSV, JSON lines), the SQL table, the HTTP models, the report and ``Scores`` take
names, order, types and descriptions from ``COLUMNS``, the only list of them.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

Mode = Literal["free", "rest"]
"""``free``: every picture has its own pose. ``rest``: the body stands in a T-pose, only the camera is fitted."""

MODES: tuple[Mode, ...] = ("free", "rest")


class Status(IntEnum):
    """Outcome of one picture. The engine stores a small integer; users see ``label``."""

    OK = 0
    LOW_INFORMATION = 1
    """Scored, but the picture is uninformative about the body."""
    TOO_FEW_KEYPOINTS = 2
    NOT_CONVERGED = 3
    NO_DETECTION = 4
    """Nobody was found in the picture."""
    BAD_INPUT = 5
    IMPLAUSIBLE = 6
    """The keypoints are not those of a person: wrong order, wrong units, or a failed detection."""

    @property
    def label(self) -> str:
        return self.name.lower()


LABELS = tuple(status.label for status in Status)

SCORED = (Status.OK, Status.LOW_INFORMATION)
"""Statuses of rows with scores."""


@dataclass(frozen=True)
class Column:
    """One column of a result."""

    name: str
    kind: Literal["text", "integer", "status", "number"]
    """``number`` is float32, NaN if it is unknown (null in CSV, JSON, SQL and HTTP); ``integer`` is int32."""
    doc: str
    unit: str = ""
    modes: tuple[Mode, ...] = MODES
    of_fit: bool = False
    """True for columns of the fit at the reference shape; they are left out if no fits were asked for."""
    of_several: bool = False
    """True for columns that exist only if pictures are compared with several shapes."""
    of_set: bool = False
    """True for columns that depend on the whole data set; they exist only if all rows are available."""


COLUMNS: tuple[Column, ...] = (
    Column("image", "text", "Name of the picture."),
    Column("instance", "integer", "Number of the person in the picture, from 0; -1 if nobody was found."),
    Column("status", "status", "Outcome of the row; one of a fixed list of words."),
    Column(
        "consistency",
        "number",
        "Agreement of the keypoints with the reference shape; the picture that the shape was fitted to scores 1.",
        "0..1",
    ),
    Column(
        "same_body_probability",
        "number",
        "Probability that picture and references show one body, prior one half.",
        "0..1",
        modes=("free",),
    ),
    Column("log_bayes_factor", "number", "Log Bayes factor of one body against two bodies.", "nats", modes=("free",)),
    Column("information_bits", "number", "Information of the picture about the body.", "bits", modes=("free",)),
    Column("rank", "integer", "Place in the data set from 1, most unlike the reference first.", of_set=True),
    Column("percentile", "number", "Share of the data set that is more unlike the reference.", "0..100", of_set=True),
    Column(
        "reprojection_error",
        "number",
        "Root mean square distance of seen and modelled keypoints at the reference shape.",
        "person heights",
        of_fit=True,
    ),
    Column("reprojection_error_px", "number", "The reprojection error in pixels.", "pixels", of_fit=True),
    Column("oks", "number", "COCO's object keypoint similarity at the reference shape.", "0..1", of_fit=True),
    Column("scale", "number", "The camera's scale at the reference shape.", "pixels per metre", of_fit=True),
    Column("translation_x", "number", "Position of the pelvis, from the left.", "pixels", of_fit=True),
    Column("translation_y", "number", "Position of the pelvis, from the top.", "pixels", of_fit=True),
    Column("best_match", "text", "Name of the shape that matches best.", modes=("free",), of_several=True),
    Column("margin", "number", "Distance to the second best shape.", "nats", modes=("free",), of_several=True),
    Column("detail", "text", "Fault or suspicious fact about the row."),
)


def columns_of(mode: Mode, *, several: bool = False, fits: bool = True, whole_set: bool = False) -> tuple[Column, ...]:
    """The columns of a result, in order.

    Args:
        several: True if pictures are compared with several shapes.
        fits: include the columns of the fit at the reference shape; rest pose always has them.
        whole_set: include the columns that need all rows.
    """
    return tuple(
        column
        for column in COLUMNS
        if mode in column.modes
        and (several or not column.of_several)
        and (fits or mode == "rest" or not column.of_fit)
        and (whole_set or not column.of_set)
    )


def score_names(mode: Mode, *, fits: bool = True) -> tuple[str, ...]:
    """The numbers of a row by itself, in order: without margin and percentile."""
    return tuple(column.name for column in columns_of(mode, fits=fits) if column.kind == "number")


SCORE_NAMES = score_names("free")
"""Every number that a row of any mode may have by itself."""
