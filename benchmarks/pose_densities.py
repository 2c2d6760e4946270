"""Densities over poses to choose the pose prior from: one Gaussian or many, of several kinds, Student's t.

They are compared on the 37 *core* coordinates of a pose, those that motion capture tells something about: hips, knees
(flexion), ankles, spine, neck, head, shoulders and elbows (flexion). Collars, hands, wrists, toes and the other
coordinates of knees and elbows never move in the data or are noise; there the prior is its variance floor, whatever
its form.

Every density is its own mirror image: components come alone, mirror-symmetric, or in mirrored pairs. Mixtures are
fitted by expectation-maximisation; a component's covariance is drawn towards the mean of all as if by 200 poses.
Student's t is the Gaussian with heavy tails, log p = −½ (ν + d) log(1 + |z|²/ν) + const, fitted by the same algorithm
with the weights (ν + d)/(ν + |z|²).

Source: Peel and McLachlan, "Robust mixture modelling using the t distribution", Statistics and Computing, 2000.
"""

from dataclasses import dataclass
from functools import cache
from math import lgamma

import numpy as np
from jaxtyping import Float

from adapters.bodies.makers.pose_prior_export import floor_deviations
from engine.body.pose_prior import POSED_JOINTS, load_pose_prior, mirror_indices

_LOOSE_PARTS = ("collar", "hand", "wrist", "foot")
_POOLED_POSES = 200.0
_EM_STEPS = 60


@dataclass(frozen=True)
class Form:
    """What a density looks like."""

    singles: int = 1
    """Components that are their own mirror image."""
    pairs: int = 0
    """Mirrored pairs of components."""
    degrees_of_freedom: float | None = None
    """ν of Student's t; None is a Gaussian."""
    shrinkage: float = 0.0
    """Share given up of each correlation between different joints."""
    diagonal: bool = False
    rank: int | None = None
    """Keep that many principal axes (of the correlations); the rest of each variance stays, uncorrelated."""
    inflation: float = 1.0
    """Factor on covariances before the floor is added."""
    floor_degrees: float = 3.0


@dataclass(frozen=True)
class Density:
    """A fitted density over core coordinates."""

    means: Float[np.ndarray, "components core"]
    covariances: Float[np.ndarray, "components core core"]
    log_weights: Float[np.ndarray, " components"]
    degrees_of_freedom: float | None


@cache
def core_basis() -> Float[np.ndarray, "core 69"]:
    """Orthonormal rows: the core coordinates in a flat pose."""
    prior = load_pose_prior()
    hinge_axes = dict(zip(prior.hinges.joints, np.asarray(prior.hinges.axes, np.float64), strict=True))
    rows = []
    for joint, name in enumerate(POSED_JOINTS):
        if name.rpartition("_")[2] in _LOOSE_PARTS:
            continue
        for axis in [hinge_axes[joint]] if joint in hinge_axes else np.eye(3):
            row = np.zeros((len(POSED_JOINTS), 3))
            row[joint] = axis / np.linalg.norm(axis)
            rows.append(row.reshape(-1))
    return np.array(rows)


@cache
def core_mirror() -> Float[np.ndarray, "core core"]:
    """The matrix that mirrors core coordinates."""
    columns, signs = mirror_indices()
    mirror = np.zeros((len(columns), len(columns)))
    mirror[np.arange(len(columns)), columns] = signs
    return core_basis() @ mirror @ core_basis().T


@cache
def _same_joint() -> np.ndarray:
    joint = np.abs(core_basis()).argmax(axis=1) // 3
    return (joint[:, None] == joint).astype(float)


def _squared_lengths(points: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    return np.sum(np.linalg.solve(np.linalg.cholesky(covariance), (points - mean).T) ** 2, axis=0)


def component_log_densities(density: Density, points: Float[np.ndarray, "poses core"]) -> np.ndarray:
    """log of weight × density of each component, nats per radian^37."""
    size, dof, columns = points.shape[1], density.degrees_of_freedom, []
    for mean, covariance, log_weight in zip(density.means, density.covariances, density.log_weights, strict=True):
        squared = _squared_lengths(points, mean, covariance)
        log_volume = 0.5 * np.linalg.slogdet(covariance)[1]
        if dof is None:
            kernel = -0.5 * squared - 0.5 * size * np.log(2 * np.pi)
        else:
            constant = lgamma((dof + size) / 2) - lgamma(dof / 2) - 0.5 * size * np.log(dof * np.pi)
            kernel = constant - 0.5 * (dof + size) * np.log1p(squared / dof)
        columns.append(log_weight + kernel - log_volume)
    return np.stack(columns, axis=1)


def log_density(density: Density, points: Float[np.ndarray, "poses core"]) -> Float[np.ndarray, " poses"]:
    """log p, nats per radian^37."""
    return np.logaddexp.reduce(component_log_densities(density, points), axis=1)


def fit_density(form: Form, poses: Float[np.ndarray, "poses 69"], seed: int = 0) -> Density:
    """Fit a density of the given form to poses and their mirror images."""
    points = poses @ core_basis().T
    both = np.concatenate([points, points @ core_mirror().T])
    floor = np.diag(np.full(both.shape[1], np.radians(form.floor_degrees) ** 2))
    density = _initial(form, both, floor, seed)
    for _ in range(_EM_STEPS if form.pairs or form.singles > 1 or form.degrees_of_freedom else 1):
        density = _improved(form, density, both, floor)
    return density


def _initial(form: Form, both: np.ndarray, floor: np.ndarray, seed: int) -> Density:
    """Centres far apart (k-means++ on pairs), half the overall covariance each."""
    generator, mirror = np.random.default_rng(seed), core_mirror()
    covariance = np.cov(both.T, bias=True) + floor
    scaled = both / np.sqrt(np.diag(covariance))
    chosen = [both[generator.integers(len(both))]]
    for _ in range(form.singles + form.pairs - 1):
        centres = np.array([c for point in chosen for c in (point, mirror @ point)]) / np.sqrt(np.diag(covariance))
        nearest = np.min([np.sum((scaled - centre) ** 2, axis=1) for centre in centres], axis=0)
        chosen.append(both[generator.choice(len(both), p=nearest / nearest.sum())])
    means = [0.5 * (c + mirror @ c) for c in chosen[: form.singles]]
    means += [c for point in chosen[form.singles :] for c in (point, mirror @ point)]
    count = len(means)
    weights = np.full(count, -np.log(count))
    return Density(np.array(means), np.array([0.5 * covariance] * count), weights, form.degrees_of_freedom)


def _improved(form: Form, density: Density, both: np.ndarray, floor: np.ndarray) -> Density:
    """One step of expectation-maximisation. The data hold every pose and its mirror image, so symmetry is kept by
    averaging each component with the mirror image of its partner."""
    mirror, (count, size) = core_mirror(), both.shape
    logs = component_log_densities(density, both)
    share = np.exp(logs - np.logaddexp.reduce(logs, axis=1)[:, None])
    pull = share.copy()
    if density.degrees_of_freedom is not None:
        dof = density.degrees_of_freedom
        squared = [_squared_lengths(both, m, s) for m, s in zip(density.means, density.covariances, strict=True)]
        pull *= (dof + size) / (dof + np.stack(squared, axis=1))
    partner = np.arange(share.shape[1])
    partner[form.singles :] = form.singles + (np.arange(2 * form.pairs) ^ 1)
    total = 0.5 * (share.sum(axis=0) + share.sum(axis=0)[partner])
    means = (pull.T @ both) / pull.sum(axis=0)[:, None]
    means = 0.5 * (means + means[partner] @ mirror.T)
    spread = np.array(
        [((both - m) * w[:, None]).T @ (both - m) / s for m, w, s in zip(means, pull.T, total, strict=True)]
    )
    spread = 0.5 * (spread + mirror @ spread[partner] @ mirror.T)
    pooled = np.einsum("c,cij->ij", total / count, spread)
    own = total[:, None, None]
    spread = (own * spread + _POOLED_POSES * pooled) / (own + _POOLED_POSES)
    covariances = np.array([form.inflation * _restricted(form, s) + floor for s in spread])
    return Density(means, covariances, np.log(total / count), density.degrees_of_freedom)


def _restricted(form: Form, covariance: np.ndarray) -> np.ndarray:
    if form.diagonal:
        return np.diag(np.diag(covariance))
    covariance = covariance * (1 - form.shrinkage * (1 - _same_joint()))
    if form.rank is None:
        return covariance
    deviations = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(deviations, deviations))
    kept = (vectors[:, -form.rank :] * values[-form.rank :]) @ vectors[:, -form.rank :].T
    kept *= np.outer(deviations, deviations)
    return kept + np.diag(np.diag(covariance) - np.diag(kept))


def full_precision_parts(
    density: Density, poses: Float[np.ndarray, "poses 69"]
) -> tuple[Float[np.ndarray, "components 69"], Float[np.ndarray, "components 69 69"], Float[np.ndarray, "69 69"]]:
    """Means and core precisions over all 69 coordinates, and the precision of those that are not core.

    The latter do not correlate with anything: their variances are the data's plus the exporter's floors.
    """
    basis, (columns, signs) = core_basis(), mirror_indices()
    both = np.concatenate([poses, poses[:, columns] * signs])
    loose = np.eye(both.shape[1]) - basis.T @ basis
    variance = np.diag(both.var(axis=0) + floor_deviations() ** 2)
    loose_precision = np.linalg.pinv(loose @ variance @ loose, rcond=1e-9)
    means = density.means @ basis + both.mean(axis=0) @ loose
    return means, basis.T @ np.linalg.inv(density.covariances) @ basis, loose_precision
