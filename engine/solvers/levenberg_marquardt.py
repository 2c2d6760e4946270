"""Levenberg-Marquardt for few residuals and many unknowns, most of which have a prior of unit variance.

The unknowns are z ~ N(0, I) and a few others c with precision Q (zero where c has no prior). With the residuals r and
their derivatives A (by z) and F (by c) a step minimises

    ½ |r + A δz + F δc|² + ½ |z + δz|² + ½ (c + δc)ᵀ Q (c + δc) + ½ λ (|δz|² + δcᵀ D δc).

z has many entries and r few, so z is eliminated in the space of r. With the gradients g_z = z + Aᵀr, g_c = Fᵀr + Q c,
and the matrix M = I + A Aᵀ/(1 + λ),

    X = M⁻¹ F,   w₀ = −M⁻¹ A g_z/(1 + λ)
    (FᵀX + Q + λD) δc = −(g_c + Fᵀw₀),   w = w₀ + X δc,   δz = −(g_z + Aᵀw)/(1 + λ).

The eigenvalues of M are at least 1, which is well-conditioned enough for float32, and c needs no prior. w = A δz + F δc
is the change of the residuals predicted by the linear model. All terms are made of gradients, so rounding errors shrink
with the step. λ follows the ratio of actual to predicted decrease. Steps are bounded in length too, so that every
picture stays in the region where the linear model is valid. Every lane controls its own steps.

Near a minimum, energies differ by rounding only, while the predicted decrease, made of gradients, still falls. Steps
are accepted there without comparing energies, and λ follows the predicted decrease. If it grows, the neglected second
derivatives are larger than the known curvature, and λ compensates for them.

Sources: Marquardt, SIAM J. Appl. Math. 1963; Nielsen, "Damping parameter in Marquardt's method", 1999; Golub and Van
Loan, "Matrix computations", 2013, section 2.1.4 (Sherman-Morrison-Woodbury).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from engine.batching import AnyArray
from engine.solvers.small_systems import positive_diagonal, solve_positive


class LinearModel(NamedTuple):
    """A problem near its current unknowns."""

    residuals: Float[Array, " rows"]
    by_whitened: Float[Array, "rows whitened"]
    by_dense: Float[Array, "rows dense"]
    whitened: Float[Array, " whitened"]
    """z: its prior is N(0, I)."""
    dense: Float[Array, " dense"]
    """c; only entries with a prior need a value."""
    dense_precision: Float[Array, " dense"]


class Problem(NamedTuple):
    """The functions that the solver calls. Energies are negative log posteriors, in nats."""

    linearise: Callable[[Any], LinearModel]
    energy: Callable[[Any], Float[Array, ""]]
    apply_step: Callable[[Any, Float[Array, " whitened"], Float[Array, " dense"]], Any]
    dense_unit: Float[Array, " dense"]
    """The largest change of each entry of c in one step; also the unit of its damping."""
    many_rows: bool = False
    """True if there are more residuals than entries of z (``eliminate_in_whitened_space``)."""


@dataclass(frozen=True)
class LMSettings:
    """Step control."""

    fastest_shrink: float = 0.1
    """Factor of the damping after a step whose actual decrease equals the predicted one."""
    whitened_bound: float = 4.0
    """Longest step of any entry of z, in standard deviations of its prior."""


INITIAL_DAMPING = 1.0
"""The prior's own precision."""
GROWTH = 2.0
"""Factor of the damping when a step fails; twice that when the next fails too (Nielsen)."""
NEAR = 1e-4
"""Nats of predicted decrease below which steps are accepted without a trial: the linear model's minimum is within
√(2 · 1e-4) posterior standard deviations."""
DAMPING_RANGE = (1e-6, 1e6)
# If the predicted decrease grows again, a tiny damping must become a useful one at once. Steps with damping far above
# the prior's own precision are too short to show the remaining decrease.
_STARTING_AGAIN = 0.01
_LARGEST_NEAR = 30.0
# Coordinates result from a long chain of products and have errors of a few units in the last place.
_ROUNDING_UNITS = 2


class Lane(NamedTuple):
    """One problem between steps."""

    unknowns: Any
    """The pytree that the problem's functions take."""
    energy: Float[Array, ""]
    damping: Float[Array, ""]
    growth: Float[Array, ""]
    """Factor of the damping if the next step fails; near the minimum it records a growing predicted decrease."""
    predicted: Float[Array, ""]
    """Upper bound of the remaining decrease before the last step, by the linear model, in nats; infinite at first."""
    steps: Int[Array, ""]
    converged: Bool[Array, ""]


class ReducedModel(NamedTuple):
    """A linear model with z eliminated."""

    gradient_whitened: Float[Array, " whitened"]
    """g_z"""
    weighted_rows: Float[Array, "rows dense"]
    """X"""
    change: Float[Array, " rows"]
    """w₀"""
    hessian: Float[Array, "dense dense"]
    """Fᵀ X + Q"""
    gradient: Float[Array, " dense"]
    """g_c + Fᵀ w₀"""


def eliminate_whitened(model: LinearModel, damping: Float[AnyArray, ""] | float) -> ReducedModel:
    """Minimise over z, given c."""
    kept = 1.0 + damping
    gradient = model.whitened + model.residuals @ model.by_whitened
    gram = model.by_whitened @ model.by_whitened.T / kept
    right = jnp.concatenate([model.by_dense, model.by_whitened @ (-gradient / kept)[:, None]], axis=1)
    solved = solve_positive(gram + jnp.eye(len(gram), dtype=gram.dtype), right)
    return _reduced(model, gradient, solved[:, :-1], solved[:, -1])


def eliminate_in_whitened_space(model: LinearModel, damping: Float[AnyArray, ""] | float) -> ReducedModel:
    """``eliminate_whitened`` for more residuals than entries of z: M⁻¹ = I − A ((1 + λ) I + AᵀA)⁻¹ Aᵀ.

    It subtracts from F what z explains, so it needs double precision.
    """
    gradient = model.whitened + model.residuals @ model.by_whitened
    gram = model.by_whitened.T @ model.by_whitened
    right = jnp.concatenate([model.by_whitened.T @ model.by_dense, gradient[:, None]], axis=1)
    solved = solve_positive(gram + (1.0 + damping) * jnp.eye(len(gram), dtype=gram.dtype), right)
    rows = model.by_dense - model.by_whitened @ solved[:, :-1]
    return _reduced(model, gradient, rows, -model.by_whitened @ solved[:, -1])


def _reduced(
    model: LinearModel,
    gradient: Float[Array, " whitened"],
    rows: Float[Array, "rows dense"],
    change: Float[Array, " rows"],
) -> ReducedModel:
    return ReducedModel(
        gradient,
        rows,
        change,
        model.by_dense.T @ rows + jnp.diag(model.dense_precision),
        model.by_dense.T @ (model.residuals + change) + model.dense_precision * model.dense,
    )


class Proposal(NamedTuple):
    """A step and its predicted decrease."""

    whitened: Float[Array, " whitened"]
    dense: Float[Array, " dense"]
    decrease: Float[Array, ""]
    """Predicted decrease of the energy by the undamped linear model."""


def complete_step(
    model: LinearModel,
    reduced: ReducedModel,
    dense: Float[Array, " dense"],
    damping: Float[AnyArray, ""],
    dense_unit: Float[Array, " dense"],
    whitened_bound: float,
) -> Proposal:
    """The step of z that belongs to a step of c; both are shortened by one factor if either is too long."""
    change = reduced.change + reduced.weighted_rows @ dense
    whitened = -(reduced.gradient_whitened + change @ model.by_whitened) / (1.0 + damping)
    longest = jnp.maximum(jnp.max(jnp.abs(whitened)) / whitened_bound, jnp.max(jnp.abs(dense) / dense_unit))
    share = 1.0 / jnp.maximum(longest, 1.0)
    # The decrease of a step δ with (H + λD) δ = −g is a sum of squares: a difference of energies would be lost in
    # rounding.
    curvature = jnp.sum(change**2) + jnp.sum(whitened**2) + jnp.sum(model.dense_precision * dense**2)
    damped = damping * (jnp.sum(whitened**2) + jnp.sum((dense / dense_unit) ** 2))
    decrease = share * (curvature + damped) - 0.5 * share**2 * curvature
    return Proposal(share * whitened, share * dense, decrease)


def propose_step(
    model: LinearModel,
    damping: Float[Array, ""],
    dense_unit: Float[Array, " dense"],
    whitened_bound: float,
    many_rows: bool = False,
) -> Proposal:
    """The damped, bounded step."""
    reduced = eliminate_in_whitened_space(model, damping) if many_rows else eliminate_whitened(model, damping)
    damped = positive_diagonal(reduced.hessian + jnp.diag(damping / dense_unit**2))
    dense = -solve_positive(damped, reduced.gradient[:, None])[:, 0]
    return complete_step(model, reduced, dense, damping, dense_unit, whitened_bound)


def open_lane(problem: Problem, unknowns: Any) -> Lane:
    """A problem before its first step."""
    energy = problem.energy(unknowns)
    return Lane(
        unknowns,
        energy,
        damping=jnp.full_like(energy, INITIAL_DAMPING),
        growth=jnp.full_like(energy, GROWTH),
        predicted=jnp.full_like(energy, jnp.inf),
        steps=jnp.zeros((), jnp.int32),
        converged=jnp.zeros((), bool),
    )


class Rounding(NamedTuple):
    """Changes due to rounding, in nats, from relative errors of a few units in the last place of c.

    Small sigmas make them large: whitened residuals are differences of coordinates, divided by sigma.
    """

    energy: Float[Array, ""]
    decrease: Float[Array, ""]
    """Predicted decrease at the minimum itself."""


def rounding(model: LinearModel, dense_unit: Float[Array, " dense"]) -> Rounding:
    sensitivity = jnp.abs(model.by_dense) @ dense_unit
    moved = _ROUNDING_UNITS * jnp.finfo(sensitivity.dtype).eps * sensitivity
    return Rounding(energy=jnp.linalg.norm(model.residuals * moved), decrease=jnp.sum(moved**2))


def take_step(
    problem: Problem, lane: Lane, settings: LMSettings, tolerance: Float[AnyArray, ""] | float = NEAR
) -> Lane:
    """One step; a converged lane stays exactly as it is.

    Args:
        tolerance: a lane whose step has a smaller predicted decrease, in nats, has converged.
    """
    model = problem.linearise(lane.unknowns)
    proposal = propose_step(model, lane.damping, problem.dense_unit, settings.whitened_bound, problem.many_rows)
    proposed = problem.apply_step(lane.unknowns, proposal.whitened, proposal.dense)
    energy = problem.energy(proposed)
    finite = jnp.isfinite(energy) & jnp.isfinite(proposal.decrease)
    # Damping shortens steps and so their predicted decrease. The prior bounds this effect.
    predicted = jnp.where(finite, proposal.decrease * (1 + lane.damping), jnp.inf)
    rounds = rounding(model, problem.dense_unit)
    near = predicted < jnp.maximum(NEAR, rounds.energy)
    accepted = finite & ((energy < lane.energy) | near) & ~lane.converged
    # The decrease is below rounding, and strongly damped steps have almost no predicted decrease: the lane stops here.
    stuck = finite & ~accepted & (lane.damping > _LARGEST_NEAR) & (proposal.decrease < NEAR)
    ratio = (lane.energy - energy) / jnp.maximum(proposal.decrease, jnp.finfo(energy.dtype).tiny)
    shrink = shrink_factor(ratio, settings.fastest_shrink)
    by_energy = jnp.where(accepted, lane.damping * shrink, lane.damping * lane.growth)
    near_minimum, growth = _damping_near_minimum(lane, predicted)
    damping = jnp.where(near, near_minimum, by_energy).clip(*DAMPING_RANGE)
    growth = jnp.where(near, growth, jnp.where(accepted, GROWTH, lane.growth * 2))

    def keep(old: Array, new: Array) -> Array:
        return jnp.where(accepted, new, old)

    return Lane(
        unknowns=jax.tree.map(keep, lane.unknowns, proposed),
        energy=keep(lane.energy, energy),
        damping=jnp.where(lane.converged, lane.damping, damping),
        growth=jnp.where(lane.converged, lane.growth, growth),
        predicted=jnp.where(lane.converged, lane.predicted, predicted),
        steps=lane.steps + ~lane.converged,
        converged=lane.converged | stuck | (predicted < jnp.maximum(tolerance, rounds.decrease)),
    )


def shrink_factor(ratio: Any, fastest_shrink: float) -> Any:
    """Factor of the damping after an accepted step (Nielsen's rule).

    Args:
        ratio: actual over predicted decrease; arrays of JAX or of NumPy.
    """
    return (1 - (2 * ratio.clip(0.0, 1.0) - 1) ** 3).clip(fastest_shrink, 2.0)


def _damping_near_minimum(lane: Lane, predicted: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Damping and growth: less damping while the predicted decrease falls, more when it grows, and then never less."""
    grew = predicted >= lane.predicted
    never_grew = lane.growth <= GROWTH
    factor = jnp.where(never_grew & (predicted < 0.25 * lane.predicted), 0.2, 1.0)
    damping = jnp.where(grew, 4 * lane.damping + _STARTING_AGAIN, lane.damping * factor)
    return jnp.minimum(damping, _LARGEST_NEAR), jnp.where(grew, 2 * GROWTH, lane.growth)
