"""First-order loops: Adam and L-BFGS from optax, on any whitened residuals.

They are independent of bodies: residuals are a function from a pytree of unknowns to a vector, the energy is half its
square. Shape, scale and translation are coupled, and plain gradient steps are slow along the valley between them. So
the loops run in coordinates v in which the curvature at the start is the identity,

    unknowns = start + W v,   Wᵀ (JᵀJ + ε I) W = 1   at the start.

Loops have a fixed length, and converged lanes freeze: under ``vmap`` no picture depends on another.

Sources: Kingma and Ba, "Adam", ICLR 2015; Nocedal and Wright, "Numerical optimization", 2006, chapters 5.1 and 7.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from engine.solvers.small_systems import whitening_factor

Unknowns = TypeVar("Unknowns")
Energy = Callable[[Float[Array, " n"]], Float[Array, ""]]


@dataclass(frozen=True)
class AdamSettings:
    """Adam with a learning rate that falls to zero along a half cosine."""

    steps: int = 300
    """The original recipe stopped after 50 (benchmarks/results.md, "Solvers", has the remaining error by number)."""
    learning_rate: float = 1.0


@dataclass(frozen=True)
class LBFGSSettings:
    """Limited-memory BFGS with optax's zoom line search."""

    steps: int = 40
    memory: int = 10
    gradient_tolerance: float = 1e-5
    """Gradient, relative to the first one, below which a lane is frozen."""


FirstOrderSettings = AdamSettings | LBFGSSettings


class Minimum(NamedTuple):
    """The end of a loop."""

    unknowns: Any
    """The same pytree as the start."""
    energy: Float[Array, ""]
    """½ of the squared residuals."""
    gradient_norm: Float[Array, ""]
    """Gradient norm in the loop's coordinates: for a quadratic energy, the distance to the minimum in standard
    deviations."""
    steps: Int[Array, ""]
    converged: Bool[Array, ""]


# Distance from the minimum of a converged loop, in standard deviations.
_CONVERGED_GRADIENT = 1e-2
# Unknowns that no residual depends on (a padded picture's camera) get this curvature and keep their values.
_SMALLEST_CURVATURE = 1e-6


def minimise(
    residuals: Callable[[Unknowns], Float[Array, " residuals"]], initial: Unknowns, settings: FirstOrderSettings
) -> Minimum:
    """Minimise half the squared residuals from a start. A bad start does not raise; ``converged`` is False then."""
    start, unravel = ravel_pytree(initial)
    jacobian = jax.jacfwd(lambda flat: residuals(unravel(flat)))(start)
    curvature = jacobian.T @ jacobian
    ridge = _SMALLEST_CURVATURE * jnp.max(jnp.diagonal(curvature)) + jnp.finfo(start.dtype).tiny
    factor = whitening_factor(curvature + ridge * jnp.eye(len(start), dtype=start.dtype))

    def unknowns_at(steps_from_start: Float[Array, " n"]) -> Unknowns:
        return unravel(start + factor @ steps_from_start)

    def energy(steps_from_start: Float[Array, " n"]) -> Float[Array, ""]:
        return 0.5 * jnp.sum(residuals(unknowns_at(steps_from_start)) ** 2)

    end = descend(energy, jnp.zeros_like(start), settings)
    return end._replace(unknowns=unknowns_at(end.unknowns))


def descend(energy: Energy, start: Float[Array, " n"], settings: FirstOrderSettings) -> Minimum:
    """Minimise an energy whose curvature at the start is about the identity: for problems that whiten themselves."""
    match settings:
        case AdamSettings():
            end, taken = _adam(energy, start, settings)
        case LBFGSSettings():
            end, taken = _lbfgs(energy, start, settings)
    value, gradient = jax.value_and_grad(energy)(end)
    norm = jnp.linalg.norm(gradient)
    return Minimum(end, value, norm, taken, jnp.isfinite(value) & (norm <= _CONVERGED_GRADIENT))


def _adam(
    energy: Energy, start: Float[Array, " n"], settings: AdamSettings
) -> tuple[Float[Array, " n"], Int[Array, ""]]:
    import optax  # here and below: it takes 0.1 s to import, and only these loops need it

    optimiser = optax.adam(optax.cosine_decay_schedule(settings.learning_rate, settings.steps))

    def step(state, _):
        point, memory = state
        updates, memory = optimiser.update(jax.grad(energy)(point), memory)
        return (point + updates, memory), None

    (end, _), _ = jax.lax.scan(step, (start, optimiser.init(start)), length=settings.steps)
    return end, jnp.asarray(settings.steps, jnp.int32)


def _lbfgs(
    energy: Energy, start: Float[Array, " n"], settings: LBFGSSettings
) -> tuple[Float[Array, " n"], Int[Array, ""]]:
    import optax

    optimiser = optax.lbfgs(memory_size=settings.memory)
    value_and_grad = optax.value_and_grad_from_state(energy)
    first_norm = jnp.linalg.norm(jax.grad(energy)(start))

    def step(state, _):
        point, memory, taken, done = state
        value, gradient = value_and_grad(point, state=memory)
        done = done | (jnp.linalg.norm(gradient) <= settings.gradient_tolerance * first_norm)
        updates, proposed_memory = optimiser.update(
            gradient, memory, point, value=value, grad=gradient, value_fn=energy
        )
        proposed = point + updates, proposed_memory
        point, memory = jax.tree.map(lambda old, new: jnp.where(done, old, new), (point, memory), proposed)
        return (point, memory, taken + ~done, done), None

    initial = (start, optimiser.init(start), jnp.asarray(0, jnp.int32), jnp.asarray(False))
    (end, _, taken, _), _ = jax.lax.scan(step, initial, length=settings.steps)
    return end, taken
