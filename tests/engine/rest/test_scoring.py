"""The fast path equals the single-picture path, and scores do not depend on what they must not depend on."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import KeypointBody, reduce_body, rest_keypoints
from engine.body.schemas import COCO_17, SCHEMAS
from engine.picture.cameras import project
from engine.picture.observation import observe
from engine.rest.closed_form import best_camera
from engine.rest.problem import REST_NOISE
from engine.rest.scores import REST_THRESHOLD, RestScores, score_projection
from engine.rest.scoring import score_rest_people, score_rest_pictures
from engine.rest.tile_scorer import TILE_SIZE

ORACLE_TOLERANCE = 2e-5
INVARIANCE_TOLERANCE = 1e-4
UNITLESS = ("consistency", "reprojection_error", "oks")


def _pictures(keypoints: int, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    points = generator.uniform(0, 800, (count, keypoints, 2)).astype(np.float32)
    confidence = generator.uniform(0, 1, (count, keypoints)).astype(np.float32)
    confidence[generator.random(confidence.shape) < 0.3] = 0
    return points, confidence


def _equal_bits(one: RestScores, other: RestScores) -> bool:
    return all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(vars(one).values(), vars(other).values(), strict=True)
    )


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=lambda schema: schema.name)
def test_fast_path_equals_single_pictures(schema) -> None:
    body = reduce_body(load_embedded_body(), schema)
    betas = np.random.default_rng(1).normal(size=10).astype(np.float32)
    keypoints, confidence = _pictures(len(body.schema), 64)
    keypoints[3, 2], confidence[3, 2] = np.nan, 1
    confidence[4, 5:] = 0

    @jax.jit
    @jax.vmap
    def one_picture(points, weights):
        observation = observe(body, points, weights)
        model = rest_keypoints(body, jnp.asarray(betas))
        camera = best_camera(body, REST_NOISE, model, observation)
        return score_projection(body, observation, project(camera, model), camera, REST_THRESHOLD)

    expected = one_picture(keypoints, confidence)
    scores = score_rest_pictures(body, betas, keypoints, confidence)
    for name, value in vars(scores).items():
        np.testing.assert_allclose(
            value, getattr(expected, name), rtol=ORACLE_TOLERANCE, atol=5 * ORACLE_TOLERANCE, err_msg=name
        )


def test_one_picture_at_a_time_gives_the_same_bits(coco_body: KeypointBody) -> None:
    keypoints, confidence = _pictures(17, 40)
    together = score_rest_pictures(coco_body, np.ones(10, np.float32), keypoints, confidence)
    for i in range(0, 40, 7):
        alone = score_rest_pictures(coco_body, np.ones(10, np.float32), keypoints[i : i + 1], confidence[i : i + 1])
        assert _equal_bits(alone, jax.tree.map(lambda value, i=i: value[i : i + 1], together))


def test_pictures_of_many_people_score_as_each_person_s_alone(coco_body: KeypointBody) -> None:
    """Whoever else is compared with whom, and in which order: the same bits. One person has no pictures."""
    betas = np.random.default_rng(5).normal(size=(70, 10)).astype(np.float32)
    keypoints, confidence = _pictures(17, 400)
    person = np.random.default_rng(6).integers(0, 69, 400)
    together = score_rest_people(coco_body, betas, keypoints, confidence, person)
    for each in (0, 1, 33, 68):
        own = person == each
        alone = score_rest_pictures(coco_body, betas[each], keypoints[own], confidence[own])
        assert _equal_bits(alone, jax.tree.map(lambda value, own=own: value[own], together))


def test_order_and_place_in_the_tile_change_no_bit(coco_body: KeypointBody) -> None:
    count = 2 * TILE_SIZE + 777
    keypoints, confidence = _pictures(17, count)
    order = np.random.default_rng(4).permutation(count)
    straight = score_rest_pictures(coco_body, np.ones(10, np.float32), keypoints, confidence)
    shuffled = score_rest_pictures(coco_body, np.ones(10, np.float32), keypoints[order], confidence[order])
    assert _equal_bits(shuffled, jax.tree.map(lambda value: value[order], straight))


@settings(max_examples=15, deadline=None)
@given(chunk=st.integers(1, 300), seed=st.integers(0, 1000))
def test_chunk_size_changes_no_bit(coco_body: KeypointBody, chunk: int, seed: int) -> None:
    keypoints, confidence = _pictures(17, 300, seed)
    whole = score_rest_pictures(coco_body, np.ones(10, np.float32), keypoints, confidence)
    pieces = [
        score_rest_pictures(coco_body, np.ones(10, np.float32), keypoints[i : i + chunk], confidence[i : i + chunk])
        for i in range(0, 300, chunk)
    ]
    assert _equal_bits(whole, jax.tree.map(lambda *values: np.concatenate(values), *pieces))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    zoom=st.floats(0.1, 8),
    shift=st.tuples(st.floats(-3000, 3000), st.floats(-3000, 3000)),
    mirrored=st.booleans(),
)
def test_resize_shift_and_mirror_change_no_score(coco_body: KeypointBody, seed, zoom, shift, mirrored) -> None:
    keypoints, confidence = _pictures(17, 8, seed)
    before = score_rest_pictures(coco_body, np.ones(10, np.float32), keypoints, confidence)
    changed = zoom * keypoints + np.array(shift, np.float32)
    if mirrored:
        swap = list(COCO_17.swap)
        changed, confidence = (changed * [-1, 1])[:, swap], confidence[:, swap]
    after = score_rest_pictures(coco_body, np.ones(10, np.float32), changed.astype(np.float32), confidence)
    np.testing.assert_array_equal(after.status, before.status)
    for name in UNITLESS:
        # Random points can be several person heights from any body: relative to such an error, rounding is as small.
        np.testing.assert_allclose(
            getattr(after, name),
            getattr(before, name),
            rtol=INVARIANCE_TOLERANCE,
            atol=INVARIANCE_TOLERANCE,
            err_msg=name,
        )
    np.testing.assert_allclose(
        after.reprojection_error_px, zoom * before.reprojection_error_px, rtol=1e-3, atol=1e-3 * zoom
    )


def test_another_process_gives_the_same_bits(coco_body: KeypointBody) -> None:
    script = (
        "import hashlib, numpy as np\n"
        "from engine.body.embedded import load_embedded_body\n"
        "from engine.body.keypoint_body import reduce_body\n"
        "from engine.body.schemas import COCO_17\n"
        "from engine.rest.fit import fit_rest_shape\n"
        "from engine.rest.scoring import score_rest_pictures\n"
        "g = np.random.default_rng(0)\n"
        "k = g.uniform(0, 800, (50, 17, 2)).astype(np.float32); c = g.uniform(0, 1, (50, 17)).astype(np.float32)\n"
        "body = reduce_body(load_embedded_body(), COCO_17)\n"
        "betas = fit_rest_shape(body, k[:4], c[:4]).betas\n"
        "scores = score_rest_pictures(body, betas, k, c)\n"
        "print(hashlib.sha256(betas.tobytes() + b''.join(v.tobytes() for v in vars(scores).values())).hexdigest())\n"
    )
    runs = {subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(runs) == 1
