"""Levenberg-Marquardt for few residuals and many unknowns, most of which have a prior of unit variance.

The unknowns are z ~ N(0, I) and c, few, with precision Q (zero where there is no prior). With the residuals r and their
derivatives A (by z) and F (by c) a step minimises

    ½ |r + A δz + F δc|² + ½ |z + δz|² + ½ (c + δc)ᵀ Q (c + δc) + ½ λ (|δz|² + δcᵀ D δc).

z has many entries and r few, so z is eliminated in the space of r: with M = I + A Aᵀ/(1 + λ),

    X = M⁻¹ F,   x = M⁻¹ (r − A z/(1 + λ))
    (FᵀX + Q + λD) δc = −(Fᵀx + Q c),   u = x + X δc,   δz = −(z + Aᵀ u)/(1 + λ).

The eigenvalues of M are 1 at least, which float32 can bear, c needs no prior, and u is the residual r + A δz + F δc
that the linear model predicts. λ follows the ratio of actual to predicted decrease, and steps are bounded in length as
well, so that no picture leaves the region where linearising means anything. Every lane controls its own steps.

Sources: Marquardt, SIAM J. Appl. Math. 1963; Nielsen, "Damping parameter in Marquardt's method", 1999; Golub and Van
Loan, "Matrix computations", 2013, section 2.1.4 (Sherman-Morrison-Woodbury).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from engine.arrays import AnyArray
from engine.solvers.small_systems import positive_diagonal, solve_positive

Unknowns = TypeVar("Unknowns")


class LinearModel(NamedTuple):
    """A problem near its current unknowns."""

    residuals: Float[Array, " rows"]
    by_whitened: Float[Array, "rows whitened"]
    by_dense: Float[Array, "rows dense"]
    whitened: Float[Array, " whitened"]
    """z: its prior is N(0, I)."""
    dense: Float[Array, " dense"]
    """c: only entries with a prior need a value."""
    dense_precision: Float[Array, " dense"]


class Problem(NamedTuple, Generic[Unknowns]):
    """What the solver needs to know. Energies are negative log posteriors, in nats."""

    linearise: Callable[[Unknowns], LinearModel]
    energy: Callable[[Unknowns], Float[Array, ""]]
    apply_step: Callable[[Unknowns, Float[Array, " whitened"], Float[Array, " dense"]], Unknowns]
    dense_unit: Float[Array, " dense"]
    """How far each entry of c may go in one step: the unit in which it is damped and bounded."""


@dataclass(frozen=True)
class LMSettings:
    """Step control. Halving or doubling any of these changes the steps needed by less than a tenth
    (benchmarks/results.md, "Posed fits")."""

    fastest_shrink: float = 0.1
    """What a step that did all it promised multiplies the damping by."""
    whitened_bound: float = 4.0
    """Longest step of any entry of z, in standard deviations of its prior."""
    tolerance: float = 1e-4
    """A lane whose next step promises a smaller decrease, in nats, has converged: the linear model's minimum is within
    √(2 · tolerance) posterior standard deviations."""


INITIAL_DAMPING = 1.0
"""As much as the prior itself."""
_DAMPING_RANGE = (1e-6, 1e6)
# Energies are sums over whitened residuals whose coordinates are rounded: differences below this many units in the last
# place say nothing.
_ROUNDING = 64


class Lane(NamedTuple, Generic[Unknowns]):
    """One problem between steps."""

    unknowns: Unknowns
    energy: Float[Array, ""]
    damping: Float[Array, ""]
    growth: Float[Array, ""]
    """What the damping is multiplied by when the next step fails."""
    steps: Int[Array, ""]
    converged: Bool[Array, ""]


class ReducedModel(NamedTuple):
    """A linear model with z eliminated."""

    weighted_rows: Float[Array, "rows dense"]
    """X = M⁻¹ F"""
    weighted_residuals: Float[Array, " rows"]
    """x = M⁻¹ (r − A z/(1 + λ))"""
    hessian: Float[Array, "dense dense"]
    """Fᵀ X + Q"""
    gradient: Float[Array, " dense"]
    """Fᵀ x + Q c"""


def eliminate_whitened(model: LinearModel, damping: Float[AnyArray, ""] | float) -> ReducedModel:
    """Minimise over z, given c."""
    kept = 1.0 + damping
    gram = model.by_whitened @ model.by_whitened.T / kept
    shifted = model.residuals - model.by_whitened @ (model.whitened / kept)
    rows = jnp.concatenate([model.by_dense, shifted[:, None]], axis=1)
    solved = solve_positive(gram + jnp.eye(len(gram), dtype=gram.dtype), rows)
    products = model.by_dense.T @ solved
    return ReducedModel(
        solved[:, :-1],
        solved[:, -1],
        products[:, :-1] + jnp.diag(model.dense_precision),
        products[:, -1] + model.dense_precision * model.dense,
    )


class Proposal(NamedTuple):
    """A step and what it promises."""

    whitened: Float[Array, " whitened"]
    dense: Float[Array, " dense"]
    decrease: Float[Array, ""]
    """Of the energy, by the undamped linear model."""


def complete_step(
    model: LinearModel,
    reduced: ReducedModel,
    dense: Float[Array, " dense"],
    damping: Float[AnyArray, ""],
    dense_unit: Float[Array, " dense"],
    whitened_bound: float,
) -> Proposal:
    """The step of z that goes with a step of c; both shortened alike if either is too long."""
    predicted = reduced.weighted_residuals + reduced.weighted_rows @ dense
    whitened = -(model.whitened + predicted @ model.by_whitened) / (1.0 + damping)
    longest = jnp.maximum(jnp.max(jnp.abs(whitened)) / whitened_bound, jnp.max(jnp.abs(dense) / dense_unit))
    share = 1.0 / jnp.maximum(longest, 1.0)
    whitened, dense = share * whitened, share * dense

    def decrease(before: Array, change: Array, precision: Array | float = 1.0) -> Array:
        return -jnp.sum(precision * change * (before + 0.5 * change))

    promised = (
        decrease(model.residuals, share * (predicted - model.residuals))
        + decrease(model.whitened, whitened)
        + decrease(model.dense, dense, model.dense_precision)
    )
    return Proposal(whitened, dense, promised)


def propose_step(
    model: LinearModel, damping: Float[Array, ""], dense_unit: Float[Array, " dense"], whitened_bound: float
) -> Proposal:
    """The damped, bounded step."""
    reduced = eliminate_whitened(model, damping)
    damped = positive_diagonal(reduced.hessian + jnp.diag(damping / dense_unit**2))
    dense = -solve_positive(damped, reduced.gradient[:, None])[:, 0]
    return complete_step(model, reduced, dense, damping, dense_unit, whitened_bound)


def open_lane(problem: Problem[Unknowns], unknowns: Unknowns) -> Lane[Unknowns]:
    """A problem before its first step."""
    energy = problem.energy(unknowns)
    return Lane(
        unknowns,
        energy,
        damping=jnp.full_like(energy, INITIAL_DAMPING),
        growth=jnp.full_like(energy, 2.0),
        steps=jnp.zeros((), jnp.int32),
        converged=jnp.zeros((), bool),
    )


def take_step(problem: Problem[Unknowns], lane: Lane[Unknowns], settings: LMSettings) -> Lane[Unknowns]:
    """One step; a converged lane stays exactly as it is."""
    proposal = propose_step(problem.linearise(lane.unknowns), lane.damping, problem.dense_unit, settings.whitened_bound)
    proposed = problem.apply_step(lane.unknowns, proposal.whitened, proposal.dense)
    energy = problem.energy(proposed)
    finite = jnp.isfinite(energy) & jnp.isfinite(proposal.decrease)
    rounding = _ROUNDING * jnp.finfo(energy.dtype).eps * lane.energy
    # A damping above the prior's own precision makes steps, and so what they promise, small for its own reason.
    small = finite & (proposal.decrease < jnp.maximum(settings.tolerance, rounding)) & (lane.damping <= 1.0)
    # The last step is taken on trust: rounding may hide that it goes down.
    accepted = finite & ((energy < lane.energy) | small) & ~lane.converged
    ratio = (lane.energy - energy) / jnp.maximum(proposal.decrease, jnp.finfo(energy.dtype).tiny)
    # Nielsen's rule: gentle where the linear model is half right.
    shrink = jnp.clip(1 - (2 * jnp.clip(ratio, 0.0, 1.0) - 1) ** 3, settings.fastest_shrink, 2.0)
    damping = jnp.where(accepted, lane.damping * shrink, lane.damping * lane.growth).clip(*_DAMPING_RANGE)

    def keep(old: Array, new: Array) -> Array:
        return jnp.where(accepted, new, old)

    return Lane(
        unknowns=jax.tree.map(keep, lane.unknowns, proposed),
        energy=keep(lane.energy, energy),
        damping=jnp.where(lane.converged, lane.damping, damping),
        growth=jnp.where(accepted | lane.converged, 2.0, lane.growth * 2),
        steps=lane.steps + ~lane.converged,
        converged=lane.converged | small,
    )
