"""Schemas: names, OKS sigmas and mirror partners of the keypoints that a detector gives.

Two schemas are related by names alone: ``source.columns_of(target.keypoint_names)`` is the column of each keypoint of
the target in the source. A detector's own description (MMPose's ``meta_info``) becomes a schema the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.body import schema_tables as tables


@dataclass(frozen=True)
class KeypointSchema:
    """The keypoints of one detector, in its order."""

    name: str
    """Name that users give, for example ``coco17``."""
    keypoint_names: tuple[str, ...]
    """MMPose's names; a name means the same body part in every schema."""
    sigmas: tuple[float, ...]
    """OKS standard deviation of each keypoint, as a fraction of the object's scale √area."""
    swap: tuple[int, ...]
    """``swap[k]`` is the keypoint that k becomes in a mirrored picture; an involution."""
    edges: tuple[tuple[int, int], ...] = ()
    """Pairs of keypoints joined by a line when drawn."""

    def __post_init__(self) -> None:
        count = len(self.keypoint_names)
        if len(set(self.keypoint_names)) != count:
            raise ValueError(f"schema {self.name}: keypoint names are not unique")
        if len(self.sigmas) != count or len(self.swap) != count:
            raise ValueError(f"schema {self.name}: {count} names, {len(self.sigmas)} sigmas, {len(self.swap)} swaps")
        if any(not 0 <= k < count for k in self.swap) or any(self.swap[self.swap[k]] != k for k in range(count)):
            raise ValueError(f"schema {self.name}: mirroring twice must change nothing")
        if not all(sigma > 0 for sigma in self.sigmas):
            raise ValueError(f"schema {self.name}: sigmas must be positive")

    def __len__(self) -> int:
        return len(self.keypoint_names)

    def columns_of(self, keypoint_names: Sequence[str]) -> tuple[int, ...]:
        """Column of each named keypoint in this schema; -1 if this schema lacks it."""
        column = {name: k for k, name in enumerate(self.keypoint_names)}
        return tuple(column.get(name, -1) for name in keypoint_names)

    def subset(self, keypoint_names: Sequence[str]) -> "KeypointSchema":
        """This schema cut down to those of its keypoints that are named, in this schema's order."""
        wanted = set(keypoint_names)
        kept = [k for k, name in enumerate(self.keypoint_names) if name in wanted]
        place = {k: i for i, k in enumerate(kept)}
        return KeypointSchema(
            name=self.name,
            keypoint_names=tuple(self.keypoint_names[k] for k in kept),
            sigmas=tuple(self.sigmas[k] for k in kept),
            swap=tuple(place.get(self.swap[k], place[k]) for k in kept),
            edges=tuple((place[a], place[b]) for a, b in self.edges if a in place and b in place),
        )


def _schema(
    name: str,
    keypoint_names: tuple[str, ...],
    sigmas: Sequence[float],
    edges: Sequence[tuple[str, str]],
    mirror: Mapping[str, str] | None = None,
) -> KeypointSchema:
    column = {keypoint: k for k, keypoint in enumerate(keypoint_names)}
    mirror = mirror or {}

    def mirrored(keypoint: str) -> str:
        if keypoint in mirror:
            return mirror[keypoint]
        side, _, rest = keypoint.partition("_")
        return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, keypoint)

    return KeypointSchema(
        name=name,
        keypoint_names=keypoint_names,
        sigmas=tuple(sigmas),
        swap=tuple(column[mirrored(keypoint)] for keypoint in keypoint_names),
        edges=tuple((column[a], column[b]) for a, b in edges if a in column and b in column),
    )


_SIGMA_OF = dict(zip(tables.WHOLEBODY_133, tables.WHOLEBODY_133_SIGMAS, strict=True)) | dict(
    zip(tables.HALPE_26, tables.HALPE_26_SIGMAS, strict=True)
)
# Corners of eyes and mouth have no published sigma; they lie beside eyes and nose. Other points have the largest one.
_FACE_SIGMA, _OTHER_SIGMA = 0.026, 0.107
_BODY_EDGES = (*tables.LIMB_EDGES, *tables.FACE_EDGES, *tables.HEAD_EDGES, *tables.FEET_EDGES)

COCO_17 = _schema("coco17", tables.COCO_17, tables.COCO_17_SIGMAS, _BODY_EDGES)
HALPE_26 = _schema("halpe26", tables.HALPE_26, tables.HALPE_26_SIGMAS, _BODY_EDGES)
BODY_25 = _schema("body25", tables.BODY_25, [_SIGMA_OF[name] for name in tables.BODY_25], _BODY_EDGES)
WHOLEBODY_133 = _schema(
    "wholebody133",
    tables.WHOLEBODY_133,
    tables.WHOLEBODY_133_SIGMAS,
    (*_BODY_EDGES, *tables.HAND_EDGES),
    {f"face-{k}": f"face-{mirrored}" for k, mirrored in enumerate(tables.FACE_68_MIRROR)},
)

HALPE_136 = _schema(
    "halpe136",
    tables.HALPE_136,
    tables.HALPE_136_SIGMAS,
    (*_BODY_EDGES, *tables.HAND_EDGES),
    {f"face-{k}": f"face-{mirrored}" for k, mirrored in enumerate(tables.FACE_68_MIRROR)},
)
OPENPOSE_18 = _schema("openpose18", tables.OPENPOSE_18, [_SIGMA_OF[name] for name in tables.OPENPOSE_18], _BODY_EDGES)
BLAZEPOSE_33 = _schema(
    "blazepose33",
    tables.BLAZEPOSE_33,
    [_SIGMA_OF.get(name, _FACE_SIGMA) for name in tables.BLAZEPOSE_33],
    _BODY_EDGES,
)
GOLIATH_308 = _schema(
    "goliath308",
    tables.GOLIATH_308,
    [_SIGMA_OF.get(name, _OTHER_SIGMA) for name in tables.GOLIATH_308],
    (*_BODY_EDGES, *tables.HAND_EDGES),
)

SCHEMAS: dict[str, KeypointSchema] = {
    s.name: s for s in (COCO_17, HALPE_26, BODY_25, WHOLEBODY_133, OPENPOSE_18, BLAZEPOSE_33, HALPE_136, GOLIATH_308)
}

_ALIASES = {
    "coco": "coco17",
    "halpe": "halpe26",
    "body26": "halpe26",
    "body_25": "body25",
    "openpose": "body25",
    "openpose_coco": "openpose18",
    "mediapipe": "blazepose33",
    "sapiens": "goliath308",
    "halpe_fullbody": "halpe136",
    "coco_wholebody": "wholebody133",
    "coco-wholebody": "wholebody133",
    "wholebody": "wholebody133",
}


def find_schema(name: str) -> KeypointSchema:
    """The schema called ``name``, or by one of the names that MMPose and OpenPose use for it.

    Raises:
        ValueError: no such schema; the message lists those that exist.
    """
    key = name.lower()
    found = SCHEMAS.get(_ALIASES.get(key, key))
    if found is None:
        raise ValueError(f"unknown keypoint schema {name!r}; known: {', '.join(sorted(SCHEMAS))}")
    return found


_COUNTS_OF_SEVERAL = {
    14: "CrowdPose, AI Challenger and LSP have 14, in different orders",
    15: "OpenPose's MPI model and CMU Panoptic have 15, in different orders",
    16: "MPII has 16",
    18: "OpenPose's COCO order has 18 (openpose18), and so has COCO-17 with another point at its end",
    21: "a hand has 21",
}
"""Hints for numbers of keypoints that do not determine the schema."""


def schema_for_count(keypoint_count: int) -> KeypointSchema:
    """The only known schema with that many keypoints, for files that do not name theirs.

    Raises:
        ValueError: no known schema has that many, or several orders have; the message lists the known ones.
    """
    found = [schema for schema in SCHEMAS.values() if len(schema) == keypoint_count]
    if not found or keypoint_count in _COUNTS_OF_SEVERAL:
        known = ", ".join(f"{schema.name} ({len(schema)})" for schema in SCHEMAS.values())
        hint = _COUNTS_OF_SEVERAL.get(keypoint_count)
        problem = f"no known keypoint schema has {keypoint_count} keypoints"
        if hint is not None:
            problem = f"{keypoint_count} keypoints do not tell their order: {hint}"
        raise ValueError(f"{problem}; known: {known}")
    return found[0]


def schema_from_mmpose(meta_info: Mapping[str, Any]) -> KeypointSchema:
    """The schema that an MMPose prediction file or ``model.dataset_meta`` describes.

    Keypoint names that samebody knows keep their meaning; other keypoints are kept, but bodies do not model them.

    Raises:
        ValueError: an entry is missing or contradicts another.
    """
    try:
        names_by_id = {int(k): str(v) for k, v in dict(meta_info["keypoint_id2name"]).items()}
        names = tuple(names_by_id[k] for k in range(len(names_by_id)))
        raw_sigmas = meta_info["sigmas"]
        sigmas = raw_sigmas["__ndarray__"] if isinstance(raw_sigmas, Mapping) else raw_sigmas
        swap = tuple(int(k) for k in meta_info.get("flip_indices") or range(len(names)))
        edges = tuple((int(a), int(b)) for a, b in meta_info.get("skeleton_links") or ())
        return KeypointSchema(
            str(meta_info.get("dataset_name", "mmpose")), names, tuple(float(s) for s in sigmas), swap, edges
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not an MMPose meta_info: {type(error).__name__}: {error}") from error
