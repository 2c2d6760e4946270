"""Levenberg-Marquardt on the shapes of several people and the poses and cameras of all their pictures at once.

    energy(β, η_1 … η_K) = Σ_i energy_i(β, η_i) + ½ |β|²          η_i: pose and frame of picture i

A picture's own unknowns are coupled to those of the others only through β, so they are eliminated picture by picture
(Schur complement), and one 10 × 10 system per person remains:

    (Σ_i G_i + I + λI) δβ = −(Σ_i g_i + β),   G_i = H_ββ − H_βη H_ηη⁻¹ H_ηβ,   g_i = ∂_β − H_βη H_ηη⁻¹ ∂_η

Then every picture takes the step of η_i that belongs to δβ. Pictures are lanes in tiles of one size. Sums over a
person's pictures are taken in their order and in float64, so results of one person do not depend on other people, bit
for bit.

Source: Triggs, McLauchlan, Hartley, Fitzgibbon, "Bundle adjustment: a modern synthesis", 1999, section 6.1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from engine.batching import AnyArray, map_samples
from engine.posed.first_order import share_shape
from engine.posed.jacobian import linearise
from engine.posed.problem import FRAME_SIZE, Picture, PictureUnknowns, PosedProblem, apply_step, posed_energy
from engine.posed.results import posed_energies
from engine.posed.search import FRAME_UNIT, TILE_SIZE, rows
from engine.solvers.first_order import FirstOrderSettings
from engine.solvers.levenberg_marquardt import (
    DAMPING_RANGE,
    GROWTH,
    INITIAL_DAMPING,
    LMSettings,
    complete_step,
    eliminate_whitened,
    shrink_factor,
)
from engine.solvers.small_systems import positive_diagonal, solve_positive

_MAX_STEPS = 50
_LONGEST_BETA_STEP = 1.0
"""Longest step of any component of β, standard deviations."""
_TOLERANCE = 1e-4
"""Nats per picture: a predicted decrease below this ends the fit."""


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
    """Predicted decrease of the energy."""


def _eliminate(problem: PosedProblem, lane: _Damped):
    """The linear model, the model without z, and the frame as a function of δβ: −follows · (δβ, 1)."""
    linear = linearise(problem, lane.picture, lane.unknowns, free_betas=True)
    # The shape prior counts once per person, not once per picture.
    linear = linear._replace(dense_precision=jnp.zeros_like(linear.dense_precision))
    reduced = eliminate_whitened(linear, lane.damping)
    frame, betas = slice(0, FRAME_SIZE), slice(FRAME_SIZE, None)
    unit = jnp.asarray(FRAME_UNIT, reduced.hessian.dtype)
    own = positive_diagonal(reduced.hessian[frame, frame] + jnp.diag(lane.damping / unit**2))
    right = jnp.concatenate([reduced.hessian[frame, betas], reduced.gradient[frame, None]], axis=1)
    return linear, reduced, solve_positive(own, right)


def _reduce(problem: PosedProblem, lane: _Damped) -> _Reduced:
    _, reduced, follows = _eliminate(problem, lane)
    frame, betas = slice(0, FRAME_SIZE), slice(FRAME_SIZE, None)
    back = reduced.hessian[betas, frame] @ follows
    return _Reduced(reduced.hessian[betas, betas] - back[:, :-1], reduced.gradient[betas] - back[:, -1])


def _follow(problem: PosedProblem, lane_and_step: tuple[_Damped, Float[Array, " betas"]]) -> _Followed:
    lane, beta_step = lane_and_step
    linear, reduced, follows = _eliminate(problem, lane)
    dense = jnp.concatenate([-(follows[:, :-1] @ beta_step + follows[:, -1]), beta_step])
    # β's step is bounded per person, so it is not bounded here.
    unit = jnp.asarray(FRAME_UNIT + (jnp.inf,) * len(beta_step), dense.dtype)
    proposal = complete_step(linear, reduced, dense, lane.damping, unit, LMSettings().whitened_bound)
    unknowns = apply_step(lane.unknowns, proposal.whitened, proposal.dense[:FRAME_SIZE])
    moved = Picture(lane.picture.observation, lane.picture.betas + beta_step)
    return _Followed(unknowns, posed_energy(problem, moved, unknowns), proposal.decrease)


class JointFit:
    """All people between steps. Values per person are float64; values per picture have the problem's precision."""

    def __init__(
        self,
        problem: PosedProblem,
        pictures: Picture,
        unknowns: PictureUnknowns,
        person: Int[np.ndarray, " images"],
    ) -> None:
        count = person.max() + 1
        self.problem = problem
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
        """Restart the fit of some people from their present unknowns."""
        self.converged[who] = False
        self.damping[who] = INITIAL_DAMPING
        self.growth[who] = GROWTH
        energy = self.total(self.picture_energies()) + 0.5 * np.sum(self.betas**2, axis=1)
        self.energy = np.where(who, energy, self.energy)

    def picture_energies(self) -> Float[np.ndarray, " images"]:
        return posed_energies(self.problem, self.at_betas(), self.unknowns)

    def at_betas(self) -> Picture:
        """The pictures with the present shapes of their people."""
        betas = self.betas[self.person].astype(self.pictures.betas.dtype)
        return Picture(self.pictures.observation, betas)

    def total(self, values: AnyArray, person: np.ndarray | None = None) -> np.ndarray:
        """Sums over each person's pictures, in their order."""
        sums = np.zeros((len(self.references), *np.shape(values)[1:]))
        np.add.at(sums, self.person if person is None else person, np.asarray(values, np.float64))
        return sums

    def run(self, loop: FirstOrderSettings | None) -> None:
        """Fit everybody who has not converged, by Levenberg-Marquardt or a first-order loop."""
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
        end = share_shape(self.problem, rows(self.at_betas(), at), rows(self.unknowns, at), loop)
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
        reduced = map_samples(_reduce, self.problem, lanes, TILE_SIZE)
        gradient = self.total(reduced.gradient, person) + self.betas
        identity = np.eye(self.betas.shape[1])
        hessian = self.total(reduced.hessian, person) + (1.0 + self.damping)[:, None, None] * identity
        beta_step = -np.linalg.solve(hessian, gradient[..., None])[..., 0]
        longest = np.abs(beta_step).max(axis=1, keepdims=True) / _LONGEST_BETA_STEP
        beta_step = (beta_step / np.maximum(longest, 1.0)).astype(dtype)
        followed = map_samples(_follow, self.problem, (lanes, beta_step[person]), TILE_SIZE)

        betas = self.betas + beta_step
        energy = self.total(followed.energy, person) + 0.5 * np.sum(betas**2, axis=1)
        predicted = self.total(followed.decrease, person) + (0.5 + self.damping) * np.sum(beta_step**2, axis=1)
        sensible = np.isfinite(energy) & np.isfinite(predicted) & ~self.converged
        small = sensible & (predicted < _TOLERANCE * self.references) & (self.damping <= 1.0)
        accepted = sensible & ((energy < self.energy) | small)
        shrink = shrink_factor((self.energy - energy) / np.maximum(predicted, 1e-30), LMSettings().fastest_shrink)
        self.steps += ~self.converged
        self.damping = np.clip(self.damping * np.where(accepted, shrink, self.growth), *DAMPING_RANGE)
        self.growth = np.where(accepted, GROWTH, self.growth * 2)
        self.betas = np.where(accepted[:, None], betas, self.betas)
        self.energy = np.where(accepted, energy, self.energy)
        taken = accepted[person]
        jax.tree.map(lambda every, new: every.__setitem__(active[taken], new[taken]), self.unknowns, followed.unknowns)
        self.converged = self.converged | small
