"""Keypoint schemas: their own laws, how they relate, and MMPose's descriptions of them."""

import copy
import json

import pytest

from engine.body.schemas import (
    BODY_25,
    COCO_17,
    HALPE_26,
    SCHEMAS,
    WHOLEBODY_133,
    KeypointSchema,
    find_schema,
    schema_for_count,
    schema_from_mmpose,
)

schemas = pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())

# As the demo scripts of MMPose 1.3 write it for models trained on COCO, without the entries that only drawing needs.
COCO_META_INFO = json.loads("""
{"dataset_name": "coco", "num_keypoints": 17,
 "keypoint_id2name": {"0": "nose", "1": "left_eye", "2": "right_eye", "3": "left_ear", "4": "right_ear",
  "5": "left_shoulder", "6": "right_shoulder", "7": "left_elbow", "8": "right_elbow", "9": "left_wrist",
  "10": "right_wrist", "11": "left_hip", "12": "right_hip", "13": "left_knee", "14": "right_knee",
  "15": "left_ankle", "16": "right_ankle"},
 "flip_indices": [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15],
 "skeleton_links": [[15, 13], [13, 11], [16, 14], [14, 12], [11, 12], [5, 11], [6, 12], [5, 6], [5, 7], [6, 8],
  [7, 9], [8, 10], [1, 2], [0, 1], [0, 2], [1, 3], [2, 4], [3, 5], [4, 6]],
 "sigmas": {"__ndarray__": [0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107,
  0.087, 0.087, 0.089, 0.089], "dtype": "float32", "shape": [17], "Corder": true}}
""")


@schemas
def test_mirroring_twice_changes_nothing(schema):
    assert [schema.swap[k] for k in schema.swap] == list(range(len(schema)))


@schemas
def test_mirroring_exchanges_left_and_right_by_name(schema):
    for k, name in enumerate(schema.keypoint_names):
        mirrored = schema.keypoint_names[schema.swap[k]]
        if name.startswith(("left_", "right_")):
            side, rest = name.split("_", 1)
            assert mirrored == f"{'right' if side == 'left' else 'left'}_{rest}"
        elif not name.startswith("face-"):
            assert mirrored == name


@schemas
def test_sigmas_of_a_pair_in_the_body_are_alike(schema):
    for k, name in enumerate(schema.keypoint_names):
        if name in COCO_17.keypoint_names:
            assert schema.sigmas[k] == schema.sigmas[schema.swap[k]]


@schemas
def test_edges_join_different_keypoints_and_mirror_into_edges(schema):
    edges = {frozenset(edge) for edge in schema.edges}
    assert len(edges) == len(schema.edges) > 0
    for edge in edges:
        assert len(edge) == 2
        assert frozenset(schema.swap[k] for k in edge) in edges


@pytest.mark.parametrize(
    ("schema", "count"), [(COCO_17, 17), (HALPE_26, 26), (BODY_25, 25), (WHOLEBODY_133, 133)], ids=lambda s: str(s)[:20]
)
def test_counts_are_those_of_the_data_sets(schema, count):
    assert len(schema) == count
    assert schema_for_count(count) is schema


def test_a_name_means_the_same_part_with_the_same_sigma_everywhere_in_the_body():
    for schema in (HALPE_26, BODY_25, WHOLEBODY_133):
        for name, column in zip(COCO_17.keypoint_names, schema.columns_of(COCO_17.keypoint_names), strict=True):
            assert schema.keypoint_names[column] == name
            assert schema.sigmas[column] == COCO_17.sigmas[COCO_17.keypoint_names.index(name)]


def test_columns_map_one_schema_onto_another():
    assert HALPE_26.columns_of(COCO_17.keypoint_names) == tuple(range(17))
    assert COCO_17.columns_of(("nose", "neck", "left_wrist")) == (0, -1, 9)
    there = BODY_25.columns_of(COCO_17.keypoint_names)
    assert [BODY_25.keypoint_names[k] for k in there] == list(COCO_17.keypoint_names)


def test_openpose_has_the_order_of_its_documentation():
    assert BODY_25.columns_of(("nose", "neck", "right_shoulder", "hip", "left_big_toe", "right_heel")) == (
        0, 1, 2, 8, 19, 24,
    )  # fmt: skip


class TestSubset:
    @schemas
    def test_all_is_the_schema_itself(self, schema):
        assert schema.subset(schema.keypoint_names) == schema

    @schemas
    def test_a_part_keeps_order_sigmas_swaps_and_edges(self, schema):
        part = schema.subset(["right_wrist", "left_wrist", "nose", "left_elbow", "unheard_of"])
        assert part.keypoint_names == tuple(
            n for n in schema.keypoint_names if n in ("right_wrist", "left_wrist", "nose", "left_elbow")
        )
        whole = schema.columns_of(part.keypoint_names)
        assert part.sigmas == tuple(schema.sigmas[k] for k in whole)
        names = part.keypoint_names
        assert names[part.swap[names.index("left_wrist")]] == "right_wrist"
        # A keypoint whose twin is left out has none.
        assert names[part.swap[names.index("left_elbow")]] == "left_elbow"
        assert {frozenset(names[k] for k in edge) for edge in part.edges} == {frozenset({"left_elbow", "left_wrist"})}

    def test_nothing_in_common_is_empty(self):
        assert len(COCO_17.subset(["unheard_of"])) == 0


class TestFinding:
    @pytest.mark.parametrize(
        ("name", "schema"),
        [("coco17", COCO_17), ("COCO", COCO_17), ("halpe26", HALPE_26), ("body_25", BODY_25), ("OpenPose", BODY_25),
         ("coco_wholebody", WHOLEBODY_133), ("coco-wholebody", WHOLEBODY_133)],
    )  # fmt: skip
    def test_by_our_name_or_that_of_others(self, name, schema):
        assert find_schema(name) is schema

    def test_an_unknown_name_gets_the_known_ones(self):
        with pytest.raises(
            ValueError, match=r"unknown keypoint schema 'mpii'; known: blazepose33, body25, coco17, .*wholebody133"
        ):
            find_schema("mpii")

    def test_an_unknown_count_gets_the_known_ones(self):
        with pytest.raises(ValueError, match=r"has 20 keypoints; known: coco17 \(17\), .*wholebody133 \(133\)"):
            schema_for_count(20)


class TestMMPose:
    def test_coco_is_coco(self):
        schema = schema_from_mmpose(COCO_META_INFO)
        assert (schema.keypoint_names, schema.sigmas, schema.swap) == (
            COCO_17.keypoint_names,
            COCO_17.sigmas,
            COCO_17.swap,
        )
        assert schema.name == "coco"

    def test_its_skeleton_is_ours_and_ears_to_shoulders(self):
        edges = {frozenset(edge) for edge in schema_from_mmpose(COCO_META_INFO).edges}
        assert {frozenset(edge) for edge in COCO_17.edges} <= edges | {frozenset({1, 3})}
        assert frozenset({3, 5}) in edges

    def test_sigmas_may_be_a_plain_list_and_keys_integers(self):
        meta = copy.deepcopy(COCO_META_INFO)
        meta["sigmas"] = meta["sigmas"]["__ndarray__"]
        meta["keypoint_id2name"] = {int(k): name for k, name in meta["keypoint_id2name"].items()}
        assert schema_from_mmpose(meta) == schema_from_mmpose(COCO_META_INFO)

    def test_keypoints_that_nobody_knows_are_carried_along(self):
        meta = {"keypoint_id2name": {"0": "tail", "1": "nose"}, "sigmas": [0.1, 0.2]}
        schema = schema_from_mmpose(meta)
        assert schema == KeypointSchema("mmpose", ("tail", "nose"), (0.1, 0.2), (0, 1))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"keypoint_id2name": None}, "not an MMPose meta_info"),
            ({"keypoint_id2name": {"0": "nose", "2": "left_eye"}}, "not an MMPose meta_info: KeyError: 1"),
            ({"sigmas": {"shape": [17]}}, "not an MMPose meta_info: KeyError: '__ndarray__'"),
            ({"sigmas": [0.1]}, "17 names, 1 sigmas"),
            ({"sigmas": [-0.1] * 17}, "sigmas must be positive"),
            ({"sigmas": [float("nan")] * 17}, "sigmas must be positive"),
            ({"flip_indices": [1] * 17}, "mirroring twice must change nothing"),
            ({"flip_indices": [99] * 17}, "mirroring twice must change nothing"),
            ({"keypoint_id2name": {str(k): "nose" for k in range(17)}}, "names are not unique"),
        ],
    )  # fmt: skip
    def test_what_contradicts_itself_is_an_error(self, changes, message):
        with pytest.raises(ValueError, match=message):
            schema_from_mmpose({**COCO_META_INFO, **changes})

    def test_an_empty_description_is_an_error(self):
        with pytest.raises(ValueError, match="not an MMPose meta_info: KeyError: 'keypoint_id2name'"):
            schema_from_mmpose({})
