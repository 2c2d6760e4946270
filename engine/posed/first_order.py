"""Adam and L-BFGS on the posed problem: the same starts, residuals and minima as Levenberg-Marquardt, many more steps.

Every picture is a lane of ``engine.solvers.first_order.minimise`` over the residuals of ``engine.posed.problem``. All
starts run to their end; then the limbs of the best are mirrored in depth and these starts run as well.

If many references share one shape, all unknowns are one vector, whitened by the curvature at the start. The Jacobian of
picture i is A_i by its own unknowns and B_i by the shared shape; with C_i = (A_iᵀA_i)⁻¹A_iᵀB_i,

    β = β₀ + W_β v_β,   η_i = η_i⁰ − C_i (β − β₀) + W_i v_i
    W_iᵀ A_iᵀA_i W_i = 1,   W_βᵀ (1 + Σ_i (B_i − A_i C_i)ᵀ(B_i − A_i C_i)) W_β = 1

This whitens the whole matrix block by block: K pictures cost K small factorisations.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from engine.batching import AnyArray, map_samples, pad_rows
from engine.body import quaternions
from engine.posed.problem import Picture, PictureUnknowns, PosedProblem, posed_residuals
from engine.posed.search import TILE_SIZE, Free, Lanes, PosedContext, Search, best_lanes, join_lanes
from engine.solvers.first_order import AdamSettings, FirstOrderSettings, LBFGSSettings, descend, minimise
from engine.solvers.small_systems import whitening_factor

SOLVERS = ("auto", "lm", "adam", "lbfgs")
"""Solvers of posed fits; ``auto`` is Levenberg-Marquardt."""


def posed_loop(solver: str) -> FirstOrderSettings | None:
    """The first-order loop behind a solver's name; None for Levenberg-Marquardt.

    The learning rate is a tenth of that in rest pose: a pose may be far from its start, and the curvature that whitens
    the unknowns is different there (benchmarks/results.md, "Posed fits").

    Raises:
        ValueError: no such solver.
    """
    match solver:
        case "auto" | "lm":
            return None
        case "adam":
            return AdamSettings(steps=600, learning_rate=0.1)
        case "lbfgs":
            return LBFGSSettings(steps=100)
    raise ValueError(f"unknown solver {solver!r}; known: {', '.join(SOLVERS)}")


# Unknowns that no residual depends on (a padded picture's camera, a quaternion's length) keep their values.
_SMALLEST_CURVATURE = 1e-6


class _Loop(eqx.Module):
    """Context of a compiled loop."""

    problem: PosedProblem
    settings: FirstOrderSettings = eqx.field(static=True)


def _unit_length(unknowns: PictureUnknowns) -> PictureUnknowns:
    return eqx.tree_at(lambda u: u.orientation, unknowns, quaternions.normalise(jnp.asarray(unknowns.orientation)))


def _pose_loop(loop: _Loop, lane: tuple[Picture, PictureUnknowns]):
    picture, start = lane
    betas = jnp.asarray(picture.betas)
    end = minimise(lambda unknowns: posed_residuals(loop.problem, picture, unknowns), start, loop.settings)
    return Free(_unit_length(end.unknowns), betas), end.energy, end.steps, end.converged


def _shape_loop(loop: _Loop, lane: tuple[Picture, PictureUnknowns]):
    picture, start = lane

    def residuals(unknowns: Free) -> Array:
        betas = jnp.asarray(unknowns.betas)
        own = posed_residuals(loop.problem, Picture(picture.observation, betas), unknowns.picture)
        return jnp.concatenate([own, betas])

    end = minimise(residuals, Free(start, jnp.asarray(picture.betas)), loop.settings)
    return Free(_unit_length(end.unknowns.picture), end.unknowns.betas), end.energy, end.steps, end.converged


class FirstOrderSearch:
    """``engine.posed.search.Search`` with a first-order loop instead of Levenberg-Marquardt."""

    def __init__(self, context: PosedContext, pictures: Picture, settings: FirstOrderSettings) -> None:
        self._search = Search(context, pictures)
        self._loop = _Loop(context.problem, settings)

    @property
    def steps(self) -> np.ndarray:
        return self._search.steps

    def run(self, free_betas: bool, initial: Lanes | None = None) -> Lanes:
        """Run the starts and return one finished lane per picture."""
        started = self._search.starts()
        if initial is not None:
            started = join_lanes(initial, started)
        ended = self._descend(started, free_betas=False)
        best = best_lanes(ended, 1)
        candidates = join_lanes(best, self._descend(self._search.flips(best), free_betas=False))
        candidates = best_lanes(candidates, 1)
        return self._descend(candidates, free_betas=True) if free_betas else candidates

    def _descend(self, lanes: Lanes, free_betas: bool) -> Lanes:
        shape = lanes.energy.shape
        pictures = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf), shape[1], axis=0), self._search.pictures)
        unknowns = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), lanes.unknowns)
        pictures = Picture(pictures.observation, unknowns.betas)
        loop = _shape_loop if free_betas else _pose_loop
        done, energy, steps, converged = map_samples(loop, self._loop, (pictures, unknowns.picture), TILE_SIZE)
        self.steps[:] += steps.reshape(shape).sum(axis=1)
        done = jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), done)
        return lanes._replace(unknowns=done, energy=energy.reshape(shape), converged=converged.reshape(shape))


class SharedMinimum(NamedTuple):
    """One person's shape and pictures at the end of a loop."""

    betas: Float[Array, " betas"]
    unknowns: PictureUnknowns
    energy: Float[Array, ""]
    """Energy of all pictures, with ½ |β|²."""
    steps: Array
    converged: Bool[Array, ""]


@eqx.filter_jit
def _shared_loop(
    loop: _Loop, pictures: Picture, starts: PictureUnknowns, seen: Bool[Array, " images"]
) -> SharedMinimum:
    betas = jnp.asarray(pictures.betas)[0]
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], starts))
    flat = jax.vmap(lambda unknowns: ravel_pytree(unknowns)[0])(starts)

    def residuals(picture: Picture, own: Float[Array, " own"], betas: Float[Array, " betas"], seen: Array) -> Array:
        at = Picture(picture.observation, betas)
        return jnp.where(seen, posed_residuals(loop.problem, at, unravel(own)), 0.0)

    def blocks(picture: Picture, own: Float[Array, " own"], seen: Array):
        by_own, by_betas = jax.jacfwd(residuals, argnums=(1, 2))(picture, own, betas, seen)
        curvature = by_own.T @ by_own
        ridge = _SMALLEST_CURVATURE * jnp.max(jnp.diagonal(curvature)) + jnp.finfo(own.dtype).tiny
        factor = whitening_factor(curvature + jnp.where(seen, ridge, 1.0) * jnp.eye(len(own), dtype=own.dtype))
        follows = factor @ (factor.T @ (by_own.T @ by_betas))
        left = by_betas - by_own @ follows
        return factor, follows, left.T @ left

    factors, follows, reduced = jax.vmap(blocks)(pictures, flat, seen)
    identity = jnp.eye(len(betas), dtype=betas.dtype)
    shared_factor = whitening_factor(identity + jnp.sum(reduced, axis=0))

    def unknowns_at(whitened: Float[Array, " all"]) -> tuple[Float[Array, " betas"], Float[Array, "images own"]]:
        step = shared_factor @ whitened[: len(betas)]
        own = jnp.einsum("iab,ib->ia", factors, whitened[len(betas) :].reshape(flat.shape))
        return betas + step, flat - follows @ step + own

    def energy(whitened: Float[Array, " all"]) -> Float[Array, ""]:
        shape, own = unknowns_at(whitened)
        every = jax.vmap(residuals, in_axes=(0, 0, None, 0))(pictures, own, shape, seen)
        return 0.5 * (jnp.sum(every**2) + jnp.sum(shape**2))

    end = descend(energy, jnp.zeros(betas.size + flat.size, betas.dtype), loop.settings)
    shape, own = unknowns_at(end.unknowns)
    return SharedMinimum(
        shape, jax.vmap(lambda one: _unit_length(unravel(one)))(own), end.energy, end.steps, end.converged
    )


def share_shape(
    problem: PosedProblem, pictures: Picture, starts: PictureUnknowns, settings: FirstOrderSettings
) -> SharedMinimum:
    """One shape for pictures of one person, each from its start; all pictures start at the same betas.

    The number of pictures is rounded up to a power of two, so that few different programs are compiled.
    """
    count = len(pictures.betas)
    padded = 1 << (count - 1).bit_length()

    def pad(leaf: AnyArray) -> np.ndarray:
        return pad_rows(np.asarray(leaf), padded)

    # Pictures of zeros are masked out, but a quaternion of length zero would bring NaN into derivatives.
    starts = jax.tree.map(pad, starts)
    starts.orientation[count:, 0] = 1
    betas = np.repeat(pictures.betas[:1], padded, axis=0)
    every = Picture(jax.tree.map(pad, pictures.observation), betas)
    end = _shared_loop(_Loop(problem, settings), every, starts, jnp.arange(padded) < count)
    return jax.tree.map(np.asarray, end._replace(unknowns=jax.tree.map(lambda leaf: leaf[:count], end.unknowns)))
