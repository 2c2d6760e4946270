"""One shape for all references of a person, each picture with its own pose and camera.

    energy(β, η_1 … η_K) = Σ_i energy_i(β, η_i) + ½ |β|²          η_i: pose and frame of picture i

Levenberg-Marquardt on all of it at once. A picture's own unknowns meet those of the others only through β, so they are
eliminated picture by picture (Schur complement), and one 10 × 10 system per person is left:

    (Σ_i G_i + I + λI) δβ = −(Σ_i g_i + β),   G_i = H_ββ − H_βη H_ηη⁻¹ H_ηβ,   g_i = ∂_β − H_βη H_ηη⁻¹ ∂_η

after which every picture follows with the step of η_i that goes with δβ. Pictures are lanes in tiles of one size; the
sums over a person's pictures are taken in their order and in float64, so people do not disturb each other, bit for bit.

A shape found with one picture in a wrong pose may be wrong itself, and the other way about: poses are searched again at
the shape found, and where any does better, the person is fitted once more.

Source: Triggs, McLauchlan, Hartley, Fitzgibbon, "Bundle adjustment: a modern synthesis", 1999, section 6.1.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from engine.batching import AnyArray, map_samples
from engine.evidence.shape_evidence import Evidence
from engine.picture.cameras import Lens
from engine.picture.observation import Observation
from engine.posed.first_order import posed_loop, share_shape
from engine.posed.fit import assemble, fit_poses, fit_shapes, make_pictures
from engine.posed.jacobian import linearise
from engine.posed.problem import FRAME_SIZE, PictureUnknowns, apply_step, posed_energy
from engine.posed.results import PosedFit, shape_evidence
from engine.posed.search import FRAME_UNIT, TILE_SIZE, Free, Lanes, Picture, PosedContext, rows
from engine.solvers.first_order import FirstOrderSettings
from engine.solvers.levenberg_marquardt import INITIAL_DAMPING, LMSettings, complete_step, eliminate_whitened
from engine.solvers.small_systems import positive_diagonal, solve_positive

_MAX_STEPS = 50
_SEARCHES = 3
_LONGEST_BETA_STEP = 1.0
"""Standard deviations, any component."""
# Nats per picture: a decrease that is not worth another step, and one that is worth another joint fit.
_TOLERANCE = 1e-4
_WORTH_ANOTHER_FIT = 1e-2


class SharedFit(NamedTuple):
    """The shapes of several people."""

    betas: Float[np.ndarray, "people betas"]
    evidence: Evidence
    """Of all references of each person together."""
    energy: Float[np.ndarray, " people"]
    """Of all references, with ½ |β|², in nats."""
    steps: Int[np.ndarray, " people"]
    """Joint steps; those of the searches are in ``references``."""
    converged: Bool[np.ndarray, " people"]
    references: PosedFit
    """Every picture at its person's shape, in the order given."""

    @property
    def covariance(self) -> Float[np.ndarray, "people betas betas"]:
        """How far the shapes may be off: (Λ + I)⁻¹."""
        return np.linalg.inv(self.evidence.precision + np.eye(self.betas.shape[-1]))


class _Damped(NamedTuple):
    """One reference, and its person's damping."""

    picture: Picture
    unknowns: PictureUnknowns
    damping: Float[AnyArray, "*images"]


class _Reduced(NamedTuple):
    """G_i and g_i."""

    hessian: Float[Array, "*images betas betas"]
    gradient: Float[Array, "*images betas"]


class _Followed(NamedTuple):
    """One reference after a step."""

    unknowns: PictureUnknowns
    energy: Float[Array, "*images"]
    decrease: Float[Array, "*images"]
    """Of the energy, as the linear model promised."""


def _eliminate(context: PosedContext, lane: _Damped):
    """The linear model, the same without z, and the frame as a function of δβ: −follows · (δβ, 1)."""
    picture = lane.picture
    linear = linearise(
        context.model, context.noise, picture.betas, lane.unknowns, picture.observation, picture.lens, free_betas=True
    )
    # The shape's prior is the person's, not each picture's.
    linear = linear._replace(dense_precision=jnp.zeros_like(linear.dense_precision))
    reduced = eliminate_whitened(linear, lane.damping)
    frame, betas = slice(0, FRAME_SIZE), slice(FRAME_SIZE, None)
    unit = jnp.asarray(FRAME_UNIT, reduced.hessian.dtype)
    own = positive_diagonal(reduced.hessian[frame, frame] + jnp.diag(lane.damping / unit**2))
    right = jnp.concatenate([reduced.hessian[frame, betas], reduced.gradient[frame, None]], axis=1)
    return linear, reduced, solve_positive(own, right)


def _reduce(context: PosedContext, lane: _Damped) -> _Reduced:
    _, reduced, follows = _eliminate(context, lane)
    frame, betas = slice(0, FRAME_SIZE), slice(FRAME_SIZE, None)
    back = reduced.hessian[betas, frame] @ follows
    return _Reduced(reduced.hessian[betas, betas] - back[:, :-1], reduced.gradient[betas] - back[:, -1])


def _follow(context: PosedContext, lane_and_step: tuple[_Damped, Float[Array, " betas"]]) -> _Followed:
    lane, beta_step = lane_and_step
    linear, reduced, follows = _eliminate(context, lane)
    dense = jnp.concatenate([-(follows[:, :-1] @ beta_step + follows[:, -1]), beta_step])
    # β's step is bounded for the person: here it may be as long as it likes.
    unit = jnp.asarray(FRAME_UNIT + (jnp.inf,) * len(beta_step), dense.dtype)
    proposal = complete_step(linear, reduced, dense, lane.damping, unit, LMSettings().whitened_bound)
    unknowns = apply_step(lane.unknowns, proposal.whitened, proposal.dense[:FRAME_SIZE])
    moved = eqx.tree_at(lambda p: p.betas, lane.picture, lane.picture.betas + beta_step)
    return _Followed(unknowns, _energy(context, (moved, unknowns)), proposal.decrease)


def _energy(context: PosedContext, fitted: tuple[Picture, PictureUnknowns]) -> Float[Array, ""]:
    picture, unknowns = fitted
    return posed_energy(context.model, context.noise, picture.betas, unknowns, picture.observation, picture.lens)


class _JointFit:
    """All people between steps. Numbers of people are float64, those of pictures as the context has them."""

    def __init__(self, context: PosedContext, pictures: Picture, unknowns: PictureUnknowns, person: np.ndarray) -> None:
        count = person.max() + 1
        self.context = context
        self.person = person
        self.pictures = pictures
        self.unknowns = jax.tree.map(np.array, unknowns)
        self.betas = np.zeros((count, pictures.betas.shape[1]))
        self.betas[person] = pictures.betas
        self.references = np.bincount(person)
        self.steps = np.zeros(count, np.int32)
        self.converged = np.ones(count, bool)
        self.energy = np.zeros(count)
        self.damping, self.growth = np.ones(count), np.ones(count)
        self.restart(np.ones(count, bool))

    def restart(self, who: Bool[np.ndarray, " people"]) -> None:
        """Begin anew for some people, from the unknowns that are there."""
        self.converged[who] = False
        self.damping[who] = INITIAL_DAMPING
        self.growth[who] = 2.0
        energy = self.total(self.picture_energies()) + 0.5 * np.sum(self.betas**2, axis=1)
        self.energy = np.where(who, energy, self.energy)

    def picture_energies(self) -> Float[np.ndarray, " images"]:
        return np.asarray(map_samples(_energy, self.context, (self.at_betas(), self.unknowns), TILE_SIZE))

    def at_betas(self) -> Picture:
        """The pictures with their people's present shapes."""
        betas = self.betas[self.person].astype(self.pictures.betas.dtype)
        return eqx.tree_at(lambda p: p.betas, self.pictures, betas)

    def total(self, values: AnyArray, person: np.ndarray | None = None) -> np.ndarray:
        """Sums over each person's pictures, in their order."""
        sums = np.zeros((len(self.references), *np.shape(values)[1:]))
        np.add.at(sums, self.person if person is None else person, np.asarray(values, np.float64))
        return sums

    def run(self, loop: FirstOrderSettings | None) -> None:
        """Everybody who has not converged to the end, by Levenberg-Marquardt or a first-order loop."""
        if loop is not None:
            for person in np.flatnonzero(~self.converged):
                self._descend(int(person), loop)
            return
        for _ in range(_MAX_STEPS):
            if self.converged.all():
                break
            self.step()

    def _descend(self, person: int, loop: FirstOrderSettings) -> None:
        at = np.flatnonzero(self.person == person)
        end = share_shape(self.context, rows(self.at_betas(), at), rows(self.unknowns, at), loop)
        self.betas[person], self.energy[person] = end.betas, end.energy
        self.steps[person] += int(end.steps)
        self.converged[person] = bool(end.converged)
        jax.tree.map(lambda every, new: every.__setitem__(at, new), self.unknowns, end.unknowns)

    def step(self) -> None:
        """One step of everybody who has not converged."""
        active = np.flatnonzero(~self.converged[self.person])
        person = self.person[active]
        dtype = self.pictures.betas.dtype
        lanes = _Damped(rows(self.at_betas(), active), rows(self.unknowns, active), self.damping[person].astype(dtype))
        reduced = map_samples(_reduce, self.context, lanes, TILE_SIZE)
        gradient = self.total(reduced.gradient, person) + self.betas
        identity = np.eye(self.betas.shape[1])
        hessian = self.total(reduced.hessian, person) + (1.0 + self.damping)[:, None, None] * identity
        beta_step = -np.linalg.solve(hessian, gradient[..., None])[..., 0]
        longest = np.abs(beta_step).max(axis=1, keepdims=True) / _LONGEST_BETA_STEP
        beta_step = (beta_step / np.maximum(longest, 1.0)).astype(dtype)
        followed = map_samples(_follow, self.context, (lanes, beta_step[person]), TILE_SIZE)

        betas = self.betas + beta_step
        energy = self.total(followed.energy, person) + 0.5 * np.sum(betas**2, axis=1)
        promised = self.total(followed.decrease, person) + (0.5 + self.damping) * np.sum(beta_step**2, axis=1)
        sensible = np.isfinite(energy) & np.isfinite(promised) & ~self.converged
        small = sensible & (promised < _TOLERANCE * self.references) & (self.damping <= 1.0)
        accepted = sensible & ((energy < self.energy) | small)
        ratio = np.clip((self.energy - energy) / np.maximum(promised, 1e-30), 0.0, 1.0)
        shrink = np.clip(1 - (2 * ratio - 1) ** 3, LMSettings().fastest_shrink, 2.0)
        self.steps += ~self.converged
        self.damping = np.clip(np.where(accepted, self.damping * shrink, self.damping * self.growth), 1e-6, 1e6)
        self.growth = np.where(accepted, 2.0, self.growth * 2)
        self.betas = np.where(accepted[:, None], betas, self.betas)
        self.energy = np.where(accepted, energy, self.energy)
        taken = accepted[person]
        jax.tree.map(lambda every, new: every.__setitem__(active[taken], new[taken]), self.unknowns, followed.unknowns)
        self.converged = self.converged | small


def fit_shared_shapes(
    context: PosedContext,
    observations: Observation,
    person: Int[np.ndarray, " images"],
    initial_betas: Float[AnyArray, " betas"] | None = None,
    lenses: Lens | None = None,
    solver: str = "auto",
) -> SharedFit:
    """One shape per person from all pictures of that person, under the prior β ~ N(0, I).

    Args:
        person: whom each picture shows: 0, 1, … each at least once; numbers of pictures may differ.
        initial_betas: where all shapes start: one shape, by default the average.
        lenses: by default weak perspective.
        solver: one of ``engine.posed.first_order.SOLVERS``.

    Raises:
        ValueError: shapes do not fit together, a number is left out, a person has no usable picture, or no such solver.
    """
    start = np.zeros(context.model.beta_count) if initial_betas is None else np.asarray(initial_betas)
    if start.shape != (context.model.beta_count,):
        raise ValueError(f"initial_betas have shape {start.shape}: one shape ({context.model.beta_count},) is wanted")
    given = make_pictures(context, observations, start, lenses)
    person = np.asarray(person)
    if person.shape != (len(given.betas),) or not len(person) or not np.isin(np.arange(person.max() + 1), person).all():
        raise ValueError(f"person must number the people on {len(given.betas)} pictures 0, 1, … without a gap")
    loop = posed_loop(solver)
    first = fit_poses(context, observations, start, lenses, solver=solver)
    usable = np.flatnonzero(np.isfinite(first.energy))
    alone = np.bincount(person[usable], minlength=person.max() + 1)[person] == 1
    if alone.any():
        # A person's only picture is fitted as any picture is: scored later, it must find itself.
        single = np.flatnonzero(alone)
        given_alone = rows(given, single)
        own = fit_shapes(context, given_alone.observation, start, given_alone.lens, solver=solver)
        first = jax.tree.map(np.array, first)
        jax.tree.map(lambda every, new: every.__setitem__(single, new), first, own)
    lost = np.setdiff1d(person, person[usable])
    if len(lost):
        raise ValueError(f"person {lost[0]} has no picture with enough keypoints to fit a shape")

    steps, codes = np.asarray(first.steps)[usable], np.asarray(first.swapped_labels)[usable]
    joint = _JointFit(context, rows(first.pictures, usable), rows(first.unknowns, usable), person[usable])
    joint.run(loop)
    searched = joint.references > 1
    for _ in range(_SEARCHES - 1 if searched.any() else 0):
        at = np.flatnonzero(searched[joint.person])
        present = rows(joint.at_betas(), at)
        own = rows(joint.unknowns, at)
        found = fit_poses(context, present.observation, present.betas, present.lens, own, solver)
        steps[at] += found.steps
        gain = joint.total(joint.picture_energies()[at] - found.energy, joint.person[at])
        searched = gain > _WORTH_ANOTHER_FIT * joint.references
        if not searched.any():
            break
        again = searched[joint.person[at]]
        codes[at[again]] ^= found.swapped_labels[again]
        moved = (found.pictures, found.unknowns)
        jax.tree.map(
            lambda every, new, at=at[again], again=again: every.__setitem__(at, new[again]),
            (joint.pictures, joint.unknowns),
            moved,
        )
        joint.restart(searched)
        joint.run(loop)
    return _finish(context, given, usable, joint, steps, codes, person)


def _finish(
    context: PosedContext,
    given: Picture,
    usable: np.ndarray,
    joint: _JointFit,
    steps: np.ndarray,
    codes: np.ndarray,
    person: np.ndarray,
) -> SharedFit:
    dtype = given.betas.dtype
    best = Lanes(
        unknowns=jax.tree.map(lambda leaf: leaf[:, None], Free(joint.unknowns, joint.at_betas().betas)),
        energy=joint.picture_energies()[:, None],
        damping=joint.damping[joint.person, None],
        growth=joint.growth[joint.person, None],
        promise=np.full((len(joint.person), 1), np.inf),
        converged=joint.converged[joint.person, None],
    )
    given = eqx.tree_at(lambda p: p.betas, given, joint.betas[person].astype(dtype))
    fit = assemble(context, given, usable, best, steps, codes)
    own = shape_evidence(context, fit)
    evidence = Evidence(
        joint.total(own.precision[usable]).astype(dtype), joint.total(own.information[usable]).astype(dtype)
    )
    return SharedFit(joint.betas.astype(dtype), evidence, joint.energy, joint.steps, joint.converged, fit)
