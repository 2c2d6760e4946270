"""The actual noise of a detector at each keypoint, estimated from fits without labels.

The model is that of ``engine.posed.noise_scale``. The whitened residuals of a picture, linearised at its fit and
brought to z = 0, β = 0, are

    y = r − A z − B β ~ N(F c, V),   V = diag(v) + A Aᵀ + B Bᵀ,   frame c unknown,

Here every keypoint has a variance v_k, shared by its mirror twin and by all pictures. The restricted likelihood is
greatest where Σ (P y)²_k = Σ P_kk for every k, with P = V⁻¹ − V⁻¹F (FᵀV⁻¹F)⁻¹ FᵀV⁻¹. The step

    v_k ← v_k √(Σ (P y)²_k / Σ P_kk)

increases it every time. A few imaginary coordinates with exactly the assumed noise are added to each sum, so that a
keypoint that is hardly ever seen keeps its variance.

The fit is biased towards the assumed noise, so the estimate lies between the truth and the assumption. A second fit and
estimate comes nearer to the truth if noise is larger. It also makes keypoints of limbs that poses follow anyway
(ankles, elbows) seem more and more exact (benchmarks/results.md, "Identity"), so a single estimate is made.

Sources: Patterson and Thompson, "Recovery of inter-block information when block sizes are unequal", Biometrika 1971;
Zhou, Hu, Zhou and Lange, "MM algorithms for variance components models", J. Comput. Graph. Stat. 2019 (the step).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from engine.batching import map_samples
from engine.posed.noise_scale import RIDGE, KeypointRows, keypoint_rows
from engine.posed.problem import Picture, PictureUnknowns, PosedProblem
from engine.posed.results import PosedFit, linear_model
from engine.posed.search import TILE_SIZE, PosedContext

MOST_PICTURES = 2000
"""Number of pictures taken, evenly spread; more do not change the answer."""

_IMAGINARY = 60.0
"""Number of imaginary coordinates of each sum. 20 costs more if the assumption is right, 200 gains less if it is wrong
(benchmarks/results.md, "Identity")."""
_ITERATIONS = 60
_CHUNK_SIZE = 250


def keypoint_noise(context: PosedContext, fit: PosedFit) -> dict[str, float]:
    """Actual over assumed standard deviation, by name of keypoint.

    Args:
        fit: pictures with free shapes (``engine.posed.fit.fit_shapes``).

    Raises:
        ValueError: no picture was fitted.
    """
    usable = np.flatnonzero(np.isfinite(fit.energy))
    if not len(usable):
        raise ValueError("no picture could be fitted; there is nothing to estimate noise from")
    if len(usable) > MOST_PICTURES:
        usable = usable[np.linspace(0, len(usable) - 1, MOST_PICTURES).round().astype(int)]
    pictures, unknowns = jax.tree.map(lambda leaf: np.asarray(leaf)[usable], (fit.pictures, fit.unknowns))
    every = map_samples(_rows, context.problem, (pictures, unknowns), TILE_SIZE)
    schema = context.model.body.schema
    seen = np.asarray(pictures.observation.confidence) > 0
    twin = np.minimum(np.arange(len(schema)), schema.swap)
    variances = _maximise(every, seen, twin)
    return {name: float(np.sqrt(value)) for name, value in zip(schema.keypoint_names, variances, strict=True)}


def _rows(problem: PosedProblem, fitted: tuple[Picture, PictureUnknowns]) -> KeypointRows:
    picture, _ = fitted
    linear = linear_model(problem, fitted)
    return keypoint_rows(linear, jnp.asarray(picture.betas), len(problem.model.body.schema))


def _maximise(
    every: KeypointRows, seen: Bool[np.ndarray, "images keypoints"], twin: Int[np.ndarray, " keypoints"]
) -> Float[np.ndarray, " keypoints"]:
    """The variances v, in double precision. ``every`` has a leading axis of images."""
    explaining, frame, values = (np.asarray(part, float) for part in every)
    explained = explaining @ explaining.transpose(0, 2, 1)
    variances = np.ones(seen.shape[1])
    for _ in range(_ITERATIONS):
        sums = np.zeros((2, seen.shape[1]))
        for start in range(0, len(values), _CHUNK_SIZE):
            at = slice(start, start + _CHUNK_SIZE)
            sums += _pulls(variances, explained[at], frame[at], values[at], seen[at])
        by_pair = np.stack([np.bincount(twin, weights=each, minlength=len(twin)) for each in sums])
        pulled, expected = by_pair[:, twin] + _IMAGINARY * np.stack([1 / variances**2, 1 / variances])
        variances = variances * np.sqrt(pulled / expected)
    return variances


def _pulls(
    variances: Float[np.ndarray, " keypoints"],
    explained: Float[np.ndarray, "images rows rows"],
    frame: Float[np.ndarray, "images rows frame"],
    values: Float[np.ndarray, "images rows"],
    seen: Bool[np.ndarray, "images keypoints"],
) -> Float[np.ndarray, "2 keypoints"]:
    """Sums of (P y)² and of P_kk over pictures and both coordinates of seen keypoints."""
    rows = np.repeat(seen, 2, axis=1)
    diagonal = np.where(rows, np.repeat(variances, 2), 1.0)
    inverse = np.linalg.inv(explained + diagonal[:, None] * np.eye(rows.shape[1]))
    weighted = inverse @ frame
    curvature = frame.transpose(0, 2, 1) @ weighted
    ridge = RIDGE * np.trace(curvature, axis1=1, axis2=2) + ~rows.any(axis=1)
    curvature = curvature + ridge[:, None, None] * np.eye(frame.shape[2])
    projected = inverse - weighted @ np.linalg.solve(curvature, weighted.transpose(0, 2, 1))
    pulled = np.einsum("nrs,ns->nr", projected, values) ** 2
    each = np.stack([pulled, np.diagonal(projected, axis1=1, axis2=2)])
    return np.where(rows, each, 0.0).sum(axis=1).reshape(2, -1, 2).sum(axis=2)
