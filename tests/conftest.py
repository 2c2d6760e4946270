"""Fixtures that many tests share. The embedded body and its reductions are read once."""

import atexit
import os
import shutil
import tempfile

import jax.numpy as jnp
import numpy as np
import pytest

from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import KeypointBody, reduce_body, rest_keypoints
from engine.body.model import BodyModel
from engine.body.schemas import COCO_17

# Tests leave the user's cache alone. All processes of one run share another, which begins empty: compiling a posed fit
# takes most of a minute, and the tests start some dozen processes.
os.environ["SAMEBODY_CACHE"] = ""
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    cache = tempfile.mkdtemp(prefix="samebody-tests-")
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"


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
