"""Posed fits of every kind of picture: difficult views, lost keypoints, empty batches, and one shape for many."""

import jax
import numpy as np
import pytest

from benchmarks import synthetic
from benchmarks.synthetic import PoseSet, SyntheticSettings, make_pictures, sampled_poses
from engine.body.keypoint_body import KeypointBody
from engine.body.pose_prior import POSED_JOINTS, load_pose_prior
from engine.body.schemas import COCO_17
from engine.picture.swapped_labels import ARMS, LEGS, swap_values
from engine.posed.fit import fit_poses, fit_shapes, make_context, observe_pictures
from engine.posed.results import PosedFit, picture_evidence
from engine.posed.shared_shape import SharedFit, fit_shared_shapes
from engine.scores import Status

NOISE = 0.003
"""Of the synthetic pictures, person heights; the fit assumes three times as much."""
EXPLAINED = 0.01
"""Root mean square distance between seen and fitted keypoints, person heights: what the fit takes for noise."""
PER_KIND = 6

RIGHT_ARM = ("right_elbow", "right_wrist")

# Degrees about x, y, z of the left joint, the right one mirrored; what is not named stays at the prior's mean.
SITTING = {"hip": (-90, 0, 3), "knee": (90, 0, 0)}
STRADDLING = {"hip": (0, 0, 35), "knee": (5, 0, 0), "shoulder": (0, -20, -30), "elbow": (0, -15, 8)}

KINDS: dict[str, dict] = {
    "from the front": {"yaw_range": (-10.0, 10.0)},
    "from behind": {"yaw_range": (170.0, 190.0)},
    "from the side": {"yaw_range": (80.0, 100.0)},
    "lying": {"posture": "lying"},
    "upside down": {"posture": "upside_down"},
    "sitting": {},
    "without legs": {"hidden_keypoints": synthetic.LEGS},
    "one arm hidden": {"hidden_keypoints": RIGHT_ARM},
    "20 pixels tall": {"person_height_px": (20.0, 20.0)},
    "4K": {"person_height_px": (2000.0, 2000.0), "picture_size_px": (3840, 2160)},
    "all labels swapped": {"swapped_label_rate": 1.0},
    "legs swapped": {"yaw_range": (-30.0, 30.0)},
    "arms swapped": {"yaw_range": (-30.0, 30.0)},
}

POSES = {"sitting": SITTING, "legs swapped": STRADDLING, "arms swapped": STRADDLING}
SWAPPED = {"legs swapped": LEGS, "arms swapped": ARMS}


def _one_pose(degrees_of: dict[str, tuple[float, float, float]]) -> PoseSet:
    pose = np.asarray(load_pose_prior().mean, np.float64).reshape(-1, 3).copy()
    for joint, degrees in degrees_of.items():
        pose[POSED_JOINTS.index(f"left_{joint}")] = np.radians(degrees)
        pose[POSED_JOINTS.index(f"right_{joint}")] = np.radians(degrees) * [1, -1, -1]
    return PoseSet(pose[None], np.zeros((1, 3)))


@pytest.fixture(scope="module")
def context(coco_body: KeypointBody):
    return make_context(coco_body)


@pytest.fixture(scope="module")
def fits(context, coco_body: KeypointBody) -> dict[str, PosedFit]:
    """All kinds in one batch, a few pictures each."""
    keypoints, confidence = [], []
    anything = sampled_poses(load_pose_prior(), 200)
    for seed, (kind, changes) in enumerate(KINDS.items()):
        settings = SyntheticSettings(people=PER_KIND, pictures=1, noise_level=NOISE, seed=seed, **changes)
        drawn = make_pictures(coco_body, _one_pose(POSES[kind]) if kind in POSES else anything, settings)
        codes = np.full(PER_KIND, SWAPPED.get(kind, 0))
        keypoints.append(swap_values(COCO_17, drawn.keypoints_px[:, 0], codes).astype(np.float32))
        confidence.append(swap_values(COCO_17, drawn.confidence[:, 0], codes).astype(np.float32))
    observations = observe_pictures(context, np.concatenate(keypoints), np.concatenate(confidence))
    every = fit_shapes(context, observations)
    parts = {kind: slice(PER_KIND * i, PER_KIND * (i + 1)) for i, kind in enumerate(KINDS)}
    return {kind: jax.tree.map(lambda leaf, at=at: leaf[at], every) for kind, at in parts.items()}


def _distance(fit: PosedFit) -> np.ndarray:
    squared = np.sum(np.square(fit.residuals), axis=-1)
    return np.sqrt(squared.sum(axis=1) / (fit.pictures.observation.confidence > 0).sum(axis=1))


@pytest.mark.parametrize("kind", KINDS)
def test_keypoints_are_explained(fits: dict[str, PosedFit], kind: str) -> None:
    assert np.median(_distance(fits[kind])) < EXPLAINED
    assert (fits[kind].status != Status.TOO_FEW_KEYPOINTS).all()


@pytest.mark.parametrize("kind", KINDS)
def test_swapped_labels_are_noticed_and_no_others(fits: dict[str, PosedFit], kind: str) -> None:
    """Arms and legs are spread: where they are close together, crossing them costs little and nothing tells."""
    assert (fits[kind].swapped_labels == SWAPPED.get(kind, 0)).all()


def test_knees_and_elbows_bend_the_right_way(context, fits: dict[str, PosedFit]) -> None:
    model = context.model
    for fit in fits.values():
        hinges = fit.pose[:, 1:][:, list(model.hinges.joints)]
        flexion = np.sum(hinges * np.asarray(model.hinges.axes), axis=-1)
        assert (flexion > np.asarray(model.hinges.lower) - 3 * np.asarray(model.hinges.softness)).all()


def test_the_camera_in_pixels_belongs_to_the_picture(fits: dict[str, PosedFit]) -> None:
    pixels_per_metre = {kind: np.median(fits[kind].camera_px.scale) for kind in ("20 pixels tall", "4K")}
    assert pixels_per_metre["20 pixels tall"] == pytest.approx(20 / 1.7, rel=0.3)
    assert pixels_per_metre["4K"] == pytest.approx(2000 / 1.7, rel=0.3)


@pytest.mark.parametrize("count", [0, 3])
def test_pictures_without_keypoints_get_their_status(context, count: int) -> None:
    keypoints = np.full((count, len(COCO_17), 2), np.nan, np.float32)
    observations = observe_pictures(context, keypoints, np.zeros(keypoints.shape[:2], np.float32))
    for fit in (fit_poses(context, observations, np.zeros(10)), fit_shapes(context, observations)):
        assert fit.status.tolist() == [Status.TOO_FEW_KEYPOINTS] * count
        assert np.isnan(fit.energy).all()


def test_an_unknown_solver_is_refused(context) -> None:
    observations = observe_pictures(context, np.zeros((1, 17, 2), np.float32), np.zeros((1, 17), np.float32))
    with pytest.raises(ValueError, match="known: auto, lm, adam, lbfgs"):
        fit_poses(context, observations, np.zeros(10), solver="newton")


def test_a_known_focal_length_explains_perspective(coco_body: KeypointBody, context) -> None:
    settings = SyntheticSettings(people=16, pictures=1, noise_level=0.0, distance_in_statures=2.0, seed=6)
    drawn = make_pictures(coco_body, sampled_poses(load_pose_prior(), 100), settings)
    keypoints, confidence = drawn.keypoints_px[:, 0].astype(np.float32), drawn.confidence[:, 0].astype(np.float32)
    focal_px = np.asarray(drawn.camera.scale)[:, 0] * drawn.distance_m
    known, unknown = (
        fit_shapes(context, observe_pictures(context, keypoints, confidence, focal)) for focal in (focal_px, np.inf)
    )
    assert np.median(known.data_energy) < 0.8 * np.median(unknown.data_energy)


@pytest.mark.parametrize("focal_px", [0.0, -500.0, np.nan])
def test_a_focal_length_must_be_positive(context, focal_px: float) -> None:
    with pytest.raises(ValueError, match="a focal length must be positive"):
        observe_pictures(context, np.zeros((1, 17, 2), np.float32), np.zeros((1, 17), np.float32), focal_px)


PEOPLE, REFERENCES = 3, 6


@pytest.fixture(scope="module")
def references(coco_body: KeypointBody) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    settings = SyntheticSettings(people=PEOPLE, pictures=REFERENCES, noise_level=0.001, seed=4, beta_deviation=2.0)
    drawn = make_pictures(coco_body, sampled_poses(load_pose_prior(), 100), settings)
    keypoints = drawn.keypoints_px.reshape(-1, 17, 2).astype(np.float32)
    return keypoints, drawn.confidence.reshape(-1, 17).astype(np.float32), drawn.betas


@pytest.fixture(scope="module")
def shared(context, references) -> SharedFit:
    keypoints, confidence, _ = references
    person = np.repeat(np.arange(PEOPLE), REFERENCES)
    return fit_shared_shapes(context, observe_pictures(context, keypoints, confidence), person)


def test_a_shared_shape_is_nearer_to_the_truth_than_the_average(shared: SharedFit, references) -> None:
    *_, truth = references
    assert np.mean((shared.betas - truth) ** 2) < 0.7 * np.mean(truth**2)
    assert shared.converged.all()


def test_the_shape_is_where_prior_and_evidence_meet(context, shared: SharedFit) -> None:
    """At the minimum (Λ + I) β = h, the sums taken over a person's pictures, at the noise that the fit assumed."""
    fit = shared.references
    evidence = jax.jit(jax.vmap(picture_evidence, in_axes=(None, 0, 0)))(context.problem, fit.pictures, fit.unknowns)
    fused = jax.tree.map(
        lambda part: np.asarray(part).reshape(PEOPLE, REFERENCES, *part.shape[1:]).sum(axis=1), evidence
    )
    left = np.einsum("nij,nj->ni", fused.precision + np.eye(10), shared.betas)
    np.testing.assert_allclose(left, fused.information, atol=0.02)


def test_people_do_not_disturb_each_other(context, shared: SharedFit, references) -> None:
    """Another number of pictures, another order of people: the same bits."""
    keypoints, confidence, _ = references
    last = slice((PEOPLE - 1) * REFERENCES, None)
    order = np.concatenate([np.arange(REFERENCES * PEOPLE)[last], np.arange(3)])
    person = np.concatenate([np.zeros(REFERENCES, int), np.ones(3, int)])
    again = fit_shared_shapes(context, observe_pictures(context, keypoints[order], confidence[order]), person)
    np.testing.assert_array_equal(again.betas[0], shared.betas[-1])
    np.testing.assert_array_equal(again.energy[0], shared.energy[-1])


def test_a_person_without_keypoints_is_refused(context, references) -> None:
    keypoints, confidence, _ = references
    confidence = confidence.copy()
    confidence[REFERENCES : 2 * REFERENCES] = 0
    person = np.repeat(np.arange(PEOPLE), REFERENCES)
    with pytest.raises(ValueError, match="person 1 has no picture"):
        fit_shared_shapes(context, observe_pictures(context, keypoints, confidence), person)
