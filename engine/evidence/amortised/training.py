"""Training: simulated pictures in, weights out.

In the first stage every picture shows another person. The second stage trains on sets, several pictures of each person
(``engine.evidence.amortised.losses``).

Gradients are clipped, a step that is not finite is skipped, the learning rate of a stage rises, then falls along a
cosine, and the weights that are kept are a running mean (Polyak averaging). The state is one pytree, so that a run can
be written down and go on: the same seed gives the same weights on one machine, whether the run was interrupted or not.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from engine.batching import AnyArray
from engine.evidence.amortised.evidence import network_columns
from engine.evidence.amortised.features import Features, Outline, picture_features
from engine.evidence.amortised.losses import SET_SIZE, density_loss, set_loss
from engine.evidence.amortised.network import DepthHead, Network, hidden_layers, init_network, root_of
from engine.evidence.shape_evidence import Evidence
from engine.picture.observation import REFERENCE_STATURE_M, observe
from engine.simulation.pictures import SimulatedPicture, Simulator, simulate_sets
from engine.simulation.settings import SimulationSettings

_DEPTH_DEVIATION = 0.05
_DEPTH_WEIGHT = 0.05
_WEIGHT_DECAY = 1e-4
_LAST_RATE = 0.002
"""Last learning rate of a stage over its greatest."""


@dataclass(frozen=True)
class Stage:
    """Steps of one kind."""

    steps: int
    sizes: tuple[int, int, int]
    """Detectors, people of each detector and pictures of each person in a step: one picture, or ``SET_SIZE``."""
    learning_rate: float
    averaging: float
    """Share of the running mean that each step keeps."""
    warm_up: int

    def __post_init__(self) -> None:
        if self.sizes[2] not in (1, SET_SIZE):
            raise ValueError(f"{self.sizes[2]} pictures of each person; training takes 1 or {SET_SIZE}")


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training. The defaults are those of the shipped network."""

    stages: tuple[Stage, ...] = (
        Stage(15_000, (1024, 1, 1), learning_rate=2e-3, averaging=0.998, warm_up=300),
        Stage(3_000, (8, 16, SET_SIZE), learning_rate=6e-4, averaging=0.997, warm_up=100),
    )
    pairs: int = 320
    layers: int = 4
    seed: int = 0

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)

    def resized(self, steps: int, batch: int) -> "TrainingSettings":
        """The same with ``steps`` in the first stage, a fifth of that in the second, and ``batch`` pictures a step."""
        single, sets = self.stages
        detectors = sets.sizes[0]
        people = max(batch // (detectors * SET_SIZE), 2)
        return replace(
            self,
            stages=(
                replace(single, steps=steps, sizes=(batch, 1, 1)),
                replace(sets, steps=max(steps // 5, 1), sizes=(detectors, people, SET_SIZE)),
            ),
        )

    def stage_at(self, step: int) -> tuple[int, int]:
        """The number of a step's stage, and the first step of that stage."""
        begins = 0
        for number, stage in enumerate(self.stages[:-1]):
            if step < begins + stage.steps:
                return number, begins
            begins += stage.steps
        return len(self.stages) - 1, begins


class Weights(NamedTuple):
    """All trained parameters."""

    network: Network
    depths: DepthHead


class TrainingState(NamedTuple):
    """State of a run after some steps."""

    step: Int[Array, ""]
    """Of all stages."""
    weights: Weights
    mean: Weights
    """The running mean."""
    optimiser: optax.OptState
    loss: Float[Array, ""]
    """Running mean of the stage's loss, nats; 0 before its first step."""


class Schedule(NamedTuple):
    """A stage's place among the steps of all stages, and its rates. Numbers, so that programs do not depend on them."""

    begins: Int[AnyArray, ""]
    steps: Int[AnyArray, ""]
    warm_up: Int[AnyArray, ""]
    learning_rate: Float[AnyArray, ""]
    averaging: Float[AnyArray, ""]

    def rate_at(self, done: Int[Array, ""]) -> Float[Array, ""]:
        """Learning rate after ``done`` steps of the stage: a linear rise, then half a period of a cosine."""
        rising = jnp.minimum((done + 1) / self.warm_up, 1.0)
        place = jnp.clip((done - self.warm_up) / jnp.maximum(self.steps - self.warm_up, 1), 0.0, 1.0)
        falling = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + jnp.cos(jnp.pi * place))
        return jnp.asarray(self.learning_rate * rising * falling)


def schedule_of(settings: TrainingSettings, number: int) -> Schedule:
    """The schedule of a stage."""
    stage = settings.stages[number]
    return Schedule(
        jnp.asarray(sum(earlier.steps for earlier in settings.stages[:number]), jnp.int32),
        jnp.asarray(stage.steps, jnp.int32),
        jnp.asarray(min(stage.warm_up, max(stage.steps // 10, 1)), jnp.int32),
        jnp.asarray(stage.learning_rate, jnp.float32),
        jnp.asarray(stage.averaging, jnp.float32),
    )


def _optimiser() -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter, 2019) with clipped gradients; the learning rate is applied afterwards."""
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.scale_by_adam(b2=0.99), optax.add_decayed_weights(_WEIGHT_DECAY)
    )


def start_training(
    settings: TrainingSettings, beta_count: int, outlines: bool = False, network: Network | None = None
) -> TrainingState:
    """The state before the first step.

    Args:
        outlines: whether the network takes outlines, which the simulator must then give.
        network: a trained network of the same sizes to go on with; its second output starts anew.
    """
    key = jax.random.key(settings.seed)
    weights = Weights(*init_network(key, settings.pairs, settings.layers, beta_count, outlines))
    if network is not None:
        weights = weights._replace(network=jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), network))
    return _begin(jnp.zeros((), jnp.int32), weights)


def begin_stage(state: TrainingState) -> TrainingState:
    """The state before the first step of a later stage, which starts from the running mean of the one before."""
    return _begin(state.step, state.mean)


def _begin(step: Int[Array, ""], weights: Weights) -> TrainingState:
    # A step frees the arrays that it replaces, so that no two parts of the state may share one.
    mean = jax.tree.map(jnp.copy, weights)
    arrays: Any = weights  # optax types trees of arrays more narrowly than it takes them
    return TrainingState(step, weights, mean, _optimiser().init(arrays), jnp.zeros(()))


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
    # Keypoints are in metres here.
    simulated = picture.outline
    outline = simulated and Outline(simulated.widths / observation.person_height_px, simulated.clothes)
    return picture_features(points, exactness, picture.level, outline), depths


class Batch(NamedTuple):
    """Features of simulated pictures, and the truth."""

    features: Features
    depths: Float[AnyArray, "images keypoints"] | None
    """None if the second output is not trained."""
    betas: Float[AnyArray, "detectors people betas"]


class Training(eqx.Module):
    """A stage of a training. ``make_training`` makes it."""

    simulator: Simulator
    schedule: Schedule
    simulation: SimulationSettings = eqx.field(static=True)
    sizes: tuple[int, int, int] = eqx.field(static=True)
    seed: int = eqx.field(static=True)


def make_training(
    simulator: Simulator, simulation: SimulationSettings, settings: TrainingSettings, number: int
) -> Training:
    """The stage with this number."""
    return Training(
        simulator, schedule_of(settings, number), simulation, settings.stages[number].sizes, settings.seed + 1
    )


def draw_batch(training: Training, step: Int[Array, ""]) -> Batch:
    """The pictures of one step."""
    key = jax.random.fold_in(jax.random.key(training.seed), step)
    sets = simulate_sets(training.simulator, training.simulation, key, training.sizes)
    pictures = jax.tree.map(lambda array: array.reshape(-1, *array.shape[3:]), sets)
    features, depths = jax.vmap(partial(features_of, training.simulator))(pictures)
    return Batch(features, depths, sets.betas[:, :, 0])


def batch_loss(weights: Weights, sizes: tuple[int, int, int], batch: Batch) -> Float[Array, ""]:
    """Mean loss of a batch: nats of the shapes' posteriors and of comparisons, and the depths' misfit."""
    network = weights.network
    hidden = hidden_layers(network, batch.features)
    root = root_of(hidden.even @ network.last + network.last_bias, network.beta_count)
    transposed = jnp.swapaxes(root.lower, -1, -2)
    evidence = Evidence(root.lower @ transposed, jnp.einsum("nij,nj->ni", root.lower, root.whitened))
    each = jax.tree.map(lambda array: array.reshape(*sizes, *array.shape[1:]), evidence)
    betas = jnp.asarray(batch.betas)
    shape_loss = density_loss(each, betas) if sizes[2] == 1 else set_loss(each, betas)
    if batch.depths is None:
        return shape_loss
    found = hidden.even @ weights.depths.even + hidden.odd @ weights.depths.odd
    return shape_loss + _DEPTH_WEIGHT * jnp.mean(((found - batch.depths) / _DEPTH_DEVIATION) ** 2)


@eqx.filter_jit(donate="all-except-first")
def train(training: Training, state: TrainingState, count: Int[Array, ""]) -> TrainingState:
    """``count`` steps of one stage, all on the device. How steps are divided into calls changes no bit."""

    def draw_and_take(_: Any, now: TrainingState) -> TrainingState:
        return take_step(training.schedule, training.sizes, now, draw_batch(training, now.step))

    return jax.lax.fori_loop(0, count, draw_and_take, state)


def take_step(schedule: Schedule, sizes: tuple[int, int, int], state: TrainingState, batch: Batch) -> TrainingState:
    """One step on the pictures of a batch, which are in the order of ``sizes``."""
    weights: Any = state.weights  # optax types trees of arrays more narrowly than it takes them
    loss, gradient = eqx.filter_value_and_grad(batch_loss)(weights, sizes, batch)
    directions, optimiser = _optimiser().update(gradient, state.optimiser, weights)
    usable = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradient))
    done = state.step - schedule.begins
    rate = schedule.rate_at(done)
    weights = jax.tree.map(lambda old, direction: old - rate * direction, weights, directions)
    kept = jax.tree.map(
        lambda new, old: jnp.where(usable, new, old), (weights, optimiser), (state.weights, state.optimiser)
    )
    # The running mean starts with the first weights; a shorter memory in early steps lets it forget them sooner.
    share = jnp.maximum(1 - schedule.averaging, 1.0 / (done + 1.0))
    mean = jax.tree.map(lambda old, new: old + share * (new - old), state.mean, kept[0])
    running = jnp.where(done == 0, loss, state.loss + 0.01 * (loss - state.loss))
    return TrainingState(state.step + 1, kept[0], mean, kept[1], jnp.where(usable, running, state.loss))
