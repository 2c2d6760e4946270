"""Fixtures that many tests share. The embedded body and its reductions are read once."""

import os

import jax.numpy as jnp
import numpy as np
import pytest

from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import KeypointBody, reduce_body, rest_keypoints
from engine.body.model import BodyModel
from engine.body.schemas import COCO_17
from tests.compiled import share_cache, warm

# Tests leave the user's cache alone and share one of their own (``tests.compiled``).
os.environ["SAMEBODY_CACHE"] = ""
_CACHE = share_cache()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Warm the compile cache before workers start; a run of one process compiles what it needs."""
    config = session.config
    if getattr(config.option, "numprocesses", None) and not config.option.collectonly:
        warm(_CACHE)


@pytest.fixture(scope="session")
def anny() -> BodyModel:
    return load_embedded_body()


@pytest.fixture(scope="session")
def coco_body(anny: BodyModel) -> KeypointBody:
    return reduce_body(anny, COCO_17)


@pytest.fixture(scope="session")
def t_pose_pictures(coco_body: KeypointBody):
    """A function that draws pictures of one person in T-pose: (keypoints in pixels, confidence)."""

    def draw(betas: np.ndarray, count: int, seed: int = 0, noise_m: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.default_rng(seed)
        points = np.asarray(rest_keypoints(coco_body, jnp.asarray(betas, jnp.float32)))
        plane = points[:, :2] * [1, -1] + noise_m * generator.normal(size=(count, len(points), 2))
        scale = generator.uniform(100, 400, (count, 1, 1))
        pixels = scale * plane + generator.uniform(200, 2000, (count, 1, 2))
        confidence = generator.uniform(0.2, 1, (count, len(points)))
        return pixels.astype(np.float32), confidence.astype(np.float32)

    return draw
