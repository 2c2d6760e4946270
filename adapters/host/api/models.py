"""Models of requests and responses. They are strict: strings are not numbers, and unknown fields are refused."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, create_model

from adapters.keypoints.table import FARTHEST_PX
from engine.body.keypoint_body import KeypointBody
from engine.body.schemas import KeypointSchema
from engine.scores import LABELS, Mode, columns_of

View = Literal["body_front", "body_back", "body_left", "body_right", "body", "face"]
"""Views that begin with "body" take part in the fit; β is kept with the front."""

SetName = Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9_-]+$", examples=["anna"])]
_LONGEST_NAME, _PRINTABLE = 200, r"^[^\x00-\x1f\x7f]+$"
ImageName = Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME, pattern=_PRINTABLE, examples=["front.jpg"])]
"""A label: it names a picture of the host's and is never opened."""


def _by_image(schema: dict[str, Any]) -> None:
    """pydantic describes the values of matching keys (``patternProperties``), but not that other keys are refused."""
    (schema["additionalProperties"],) = schema.pop("patternProperties").values()
    schema["propertyNames"] = {"type": "string", "minLength": 1, "maxLength": _LONGEST_NAME, "pattern": _PRINTABLE}


StatusLabel = Literal[LABELS]  # pyright: ignore[reportInvalidTypeForm] (its members are known at run time)
"""``engine.scores.Status`` as text."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class FittedShape(BaseModel):
    """The one shape of a reference set."""

    betas: list[float] = Field(description="Ten shape components, standard deviations.")
    body: str = Field(description="The body that the components belong to.")
    mode: Mode
    keypoint_schema: str
    converged: bool
    references_used: int
    digest: str = Field(description="Scores with the same digest are comparable.")


class ReferenceState(BaseModel):
    image: str
    view: str
    used: bool = Field(description="True if this picture was used for the shape.")
    reprojection_error: float | None = Field(description="At the fitted shape, person heights.")


class ReferenceSetState(BaseModel):
    """A reference set and its shape."""

    reference_set: str
    references: list[ReferenceState]
    shape: FittedShape | None
    reason: str | None = Field(description="Why there is no shape.")


def _score_fields() -> dict[str, Any]:
    kinds: dict[str, Any] = {"text": str, "integer": int, "status": StatusLabel, "number": float | None}
    return {
        column.name: (
            str | None if column.name == "detail" else kinds[column.kind],
            Field(description=f"{column.doc} Unit: {column.unit}." if column.unit else column.doc),
        )
        for column in columns_of("free")
    }


class _FromRow(BaseModel):
    """One person in one picture. Numbers that cannot be given are null."""

    model_config = ConfigDict(from_attributes=True)


if TYPE_CHECKING:

    class ScoreRow(_FromRow):
        image: str
        instance: int

else:
    ScoreRow = create_model("ScoreRow", __base__=_FromRow, __doc__=_FromRow.__doc__, **_score_fields())


class ScoredPictures(BaseModel):
    shape_digest: str
    rows: list[ScoreRow]


class StoredScore(ScoreRow):
    current: bool = Field(description="False: scored against a shape that the set does not have any more.")


class NextPage(BaseModel):
    after_image: str
    after_instance: int


class ScorePage(BaseModel):
    rows: list[StoredScore]
    next: NextPage | None = Field(description="Query parameters of the next page; null on the last.")


class RequestModels:
    """Models whose arrays have as many entries as the detector has keypoints."""

    def __init__(self, body: KeypointBody, schema: KeypointSchema, max_references: int, max_pictures: int) -> None:
        count = len(schema)
        coordinate = Annotated[float, Field(ge=-FARTHEST_PX, le=FARTHEST_PX)]
        point = Annotated[list[coordinate], Field(min_length=2, max_length=2)]
        keypoints = Annotated[
            list[point],
            Field(min_length=count, max_length=count, description=f"Pixels, x right, y down; {schema.name}."),
        ]
        confidence = Annotated[
            list[Annotated[float, Field(ge=0, le=1)]],
            Field(min_length=count, max_length=count, description="0 (not seen) to 1."),
        ]
        example = _example(body, schema)
        # Types that are made at run time are beyond what a type checker follows.
        make_model: Any = create_model
        self.person: Any = make_model(
            "Person",
            __base__=Strict,
            __doc__="The keypoints of one person.",
            keypoints=(keypoints, Field(examples=[example["keypoints"]])),
            confidence=(confidence, Field(examples=[example["confidence"]])),
        )
        reference: Any = make_model("Reference", __base__=self.person, view=(View, Field(examples=["body_front"])))
        references = dict[ImageName, reference]
        self.references: Any = make_model(
            "References",
            __base__=Strict,
            __doc__="All references of a set, by picture.",
            references=(
                Annotated[references, Field(min_length=1, max_length=max_references, json_schema_extra=_by_image)],
                Field(examples=[{"front.jpg": {"view": "body_front", **example}}]),
            ),
        )
        people = Annotated[list[self.person], Field(max_length=50)]
        self.pictures: Any = make_model(
            "Pictures",
            __base__=Strict,
            __doc__="People found in pictures, by picture; an empty list if nobody was found.",
            pictures=(
                Annotated[
                    dict[ImageName, people],
                    Field(min_length=1, max_length=max_pictures, json_schema_extra=_by_image),
                ],
                Field(examples=[{"a.jpg": [example], "empty.jpg": []}]),
            ),
        )


def _example(body: KeypointBody, schema: KeypointSchema) -> dict[str, Any]:
    """The mean body in T-pose, 400 pixels a metre; keypoints that the body does not have are not seen."""
    rest = np.asarray(body.offsets).sum(axis=1) + np.asarray(body.masses) @ np.asarray(body.joints)
    columns = schema.columns_of(body.schema.keypoint_names)
    keypoints, confidence = np.zeros((len(schema), 2)), np.zeros(len(schema))
    keypoints[list(columns)] = np.round(400 * rest[:, :2] * [1, -1] + [640, 480], 1)
    confidence[list(columns)] = 0.9
    return {"keypoints": keypoints.tolist(), "confidence": confidence.tolist()}
