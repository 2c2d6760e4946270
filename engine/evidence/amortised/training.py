"""Training: simulated pictures in, weights out.

Every step draws new pictures of new people. Gradients are clipped, a step that is not finite is skipped, the learning
rate rises, then falls along a cosine, and the result is a running mean of the weights (Polyak averaging). The state is
one pytree, so that a run can be saved and continued: the same seed gives the same weights on one machine, whether
the run was interrupted or not.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from engine.evidence.amortised.evidence import network_columns
from engine.evidence.amortised.features import Features, picture_features
from engine.evidence.amortised.network import (
    DepthHead,
    Network,
    hidden_layers,
    init_network,
    posterior_loss,
    root_of,
)
from engine.picture.observation import REFERENCE_STATURE_M, observe
from engine.simulation.pictures import SimulatedPicture, Simulator, simulate
from engine.simulation.settings import SimulationSettings

_DEPTH_DEVIATION = 0.05
_DEPTH_WEIGHT = 0.05


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training. The defaults are those of the shipped network."""

    steps: int = 15_000
    batch: int = 1024
    pairs: int = 320
    layers: int = 4
    learning_rate: float = 2e-3
    warm_up: int = 300
    averaging: float = 0.998
    seed: int = 0


class Weights(NamedTuple):
    """All trained parameters."""

    network: Network
    depths: DepthHead


class TrainingState(NamedTuple):
    """State of a run after some steps."""

    step: Int[Array, ""]
    weights: Weights
    mean: Weights
    """The running mean."""
    optimiser: optax.OptState
    loss: Float[Array, ""]
    """Running mean of the loss, nats; 0 before the first step."""


def optimiser_of(settings: TrainingSettings) -> optax.GradientTransformation:
    """AdamW with clipped gradients and a learning rate that rises and falls."""
    warm_up = min(settings.warm_up, max(settings.steps // 10, 1))
    rate = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, warm_up, max(settings.steps, warm_up + 1), 0.002 * settings.learning_rate
    )
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.99, weight_decay=1e-4))


def start_training(settings: TrainingSettings, beta_count: int) -> TrainingState:
    """The state before the first step."""
    weights: Any = Weights(*init_network(jax.random.key(settings.seed), settings.pairs, settings.layers, beta_count))
    # A step frees the arrays that it replaces, so that no two parts of the state may share one.
    mean = jax.tree.map(jnp.copy, weights)
    return TrainingState(jnp.zeros((), jnp.int32), weights, mean, optimiser_of(settings).init(weights), jnp.zeros(()))


def features_of(simulator: Simulator, picture: SimulatedPicture) -> tuple[Features, Float[Array, " keypoints"]]:
    """The network's features of one simulated picture, and its keypoints' depths from their mean in person heights."""
    seen = picture.confidence > 0
    observation = observe(simulator.body, picture.keypoints, seen.astype(picture.keypoints.dtype))
    exactness = jnp.where(observation.measurable, jnp.sqrt(picture.confidence), 0.0)
    # Pictures without a limb have no size; they are uninformative in use and in training.
    points = jnp.where(observation.measurable, observation.points, 0.0)
    depths = (picture.depths - jnp.mean(picture.depths)) / REFERENCE_STATURE_M
    schema = simulator.body.schema
    points, exactness = network_columns(schema, points, exactness)
    return picture_features(points, exactness, picture.level), depths


def batch_loss(
    weights: Weights, features: Features, depths: Float[Array, "images keypoints"], betas: Float[Array, "images betas"]
) -> Float[Array, ""]:
    """Mean loss of a batch: nats of the shape's posterior, and the depths' misfit."""
    network = weights.network
    hidden = hidden_layers(network, features)
    root = root_of(hidden.even @ network.last + network.last_bias, betas.shape[-1])
    losses = jax.vmap(posterior_loss)(root, betas)
    # The loss is bounded: single pictures with huge losses would dominate the gradient of the whole batch.
    losses = jnp.minimum(losses, 60.0)
    found = hidden.even @ weights.depths.even + hidden.odd @ weights.depths.odd
    misfit = jnp.mean(((found - depths) / _DEPTH_DEVIATION) ** 2)
    return jnp.mean(losses) + _DEPTH_WEIGHT * misfit


class Batch(NamedTuple):
    """Features of simulated pictures, and the truth."""

    features: Features
    depths: Float[Array, "images keypoints"]
    betas: Float[Array, "images betas"]


@eqx.filter_jit
def draw_batch(
    simulator: Simulator,
    simulation: SimulationSettings,
    settings: TrainingSettings,
    step: Int[Array, ""],
) -> Batch:
    """The pictures of one step."""
    key = jax.random.fold_in(jax.random.key(settings.seed + 1), step)
    pictures = simulate(simulator, simulation, key, settings.batch)
    features, depths = jax.vmap(partial(features_of, simulator))(pictures)
    return Batch(features, depths, pictures.betas)


@eqx.filter_jit(donate="all-except-first")
def train_step(settings: TrainingSettings, state: TrainingState, batch: Batch) -> TrainingState:
    """One step."""
    weights: Any = state.weights  # optax types trees of arrays more narrowly than it takes them
    loss, gradient = eqx.filter_value_and_grad(batch_loss)(weights, *batch)
    updates, optimiser = optimiser_of(settings).update(gradient, state.optimiser, weights)
    usable = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradient))
    weights = optax.apply_updates(weights, updates)
    kept = jax.tree.map(
        lambda new, old: jnp.where(usable, new, old), (weights, optimiser), (state.weights, state.optimiser)
    )
    # The running mean starts with the first weights; a shorter memory in early steps lets it forget them sooner.
    share = jnp.maximum(1 - settings.averaging, 1.0 / (state.step + 1.0))
    mean = jax.tree.map(lambda old, new: old + share * (new - old), state.mean, kept[0])
    running = jnp.where(state.step == 0, loss, state.loss + 0.01 * (loss - state.loss))
    return TrainingState(state.step + 1, kept[0], mean, kept[1], jnp.where(usable, running, state.loss))
