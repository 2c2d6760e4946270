"""Rounds of Levenberg-Marquardt over many lanes: several starts per picture, of which the best are finished.

A lane is one picture with one start. Compiled code advances one tile of lanes by some steps; between rounds the lanes
that still matter are gathered into full tiles on the host. The tile size is fixed and lanes are independent, so a
picture's result is the same, bit for bit, alone or among millions.

The rounds, with the numbers of steps, are the cheapest found that miss the best of 64 random starts in about 3 % of
pictures (benchmarks/results.md, "Posed fits"): a few starts take a few steps, the best ones a few more; from there
limbs are mirrored in depth, and the best of all is finished.
"""

from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from engine.batching import AnyArray, map_samples
from engine.posed.depth_flips import mirrored_limbs
from engine.posed.jacobian import linearise
from engine.posed.model import PosedModel
from engine.posed.problem import FRAME_SIZE, Picture, PictureUnknowns, PosedProblem, apply_step, posed_energy
from engine.posed.starts import StartLibrary, find_starts
from engine.solvers.levenberg_marquardt import GROWTH, NEAR, Lane, LMSettings, Problem, open_lane, take_step

TILE_SIZE = 128
"""Lanes per tile: one step of 128 lanes of 17 keypoints works on 3.6 MB (benchmarks/results.md, "Posed fits")."""

STARTS = 4
_SCREENING_STEPS = 3
_KEPT = 2
_SETTLING_STEPS = 4
_FLIPS = 4
_FLIP_STEPS = 3
_FINISHING_STEPS = 6
_FINISHED = 2e-8
"""Nats of predicted decrease at the last step. The remaining decrease changes scores by less than 1e-4; a threshold of
1e-4 nats changed some by 1e-3 (benchmarks/results.md, "Identity", "Laws")."""
MAX_STEPS = 80
"""Most steps of a lane. It counts as converged if the predicted decrease of its last step is below ``NEAR``."""

# Starts get stuck in the narrow valleys of little noise. Below this largest sigma (hips at just under 1 % noise),
# person heights, all but the last rounds assume up to three times the noise, one more start is kept, and the limbs of
# the best are mirrored once more.
_COARSE_SIGMA = 0.013
_COARSEST = 3.0
_REFINING_STEPS = 6

_SCREENING_WIDTH = 30.0
"""Robust width, in sigmas, while starts are compared, so that every keypoint pulls on a start that is far off."""

# The longest step: radians, log scale, person heights, standard deviations of β.
FRAME_UNIT = (0.5, 0.5, 0.5, 0.3, 0.3, 0.3)
_BETA_UNIT = 1.0

Tree = TypeVar("Tree")


class PosedContext(eqx.Module):
    """Data shared by all pictures of a posed fit. ``engine.posed.fit.make_context`` makes it."""

    problem: PosedProblem
    library: StartLibrary

    @property
    def model(self) -> PosedModel:
        return self.problem.model


class _Rounds(NamedTuple):
    """Context of a compiled round."""

    problem: PosedProblem
    steps: Int[AnyArray, ""]
    tolerance: Float[AnyArray, ""]


class _Open(NamedTuple):
    """A lane that goes into a round."""

    picture: Picture
    unknowns: PictureUnknowns
    damping: Float[AnyArray, "*lanes"]
    growth: Float[AnyArray, "*lanes"]
    predicted: Float[AnyArray, "*lanes"]


class Free(NamedTuple):
    """Unknowns of a picture whose shape is free."""

    picture: PictureUnknowns
    betas: Float[AnyArray, "*images betas"]


def picture_problem(problem: PosedProblem, picture: Picture, free_betas: bool) -> Problem:
    """The posed problem of one picture; with β fixed, the betas of ``Free`` never move."""

    def at(betas: AnyArray) -> Picture:
        return Picture(picture.observation, betas)

    def energy(unknowns: Free) -> Float[Array, ""]:
        value = posed_energy(problem, at(unknowns.betas), unknowns.picture)
        return value + 0.5 * jnp.sum(unknowns.betas**2) if free_betas else value

    def apply(unknowns: Free, whitened: Float[Array, " latents"], dense: Float[Array, " dense"]) -> Free:
        betas = unknowns.betas + dense[FRAME_SIZE:] if free_betas else unknowns.betas
        return Free(apply_step(unknowns.picture, whitened, dense[:FRAME_SIZE]), betas)

    unit = FRAME_UNIT + (_BETA_UNIT,) * (problem.model.beta_count if free_betas else 0)
    return Problem(
        linearise=lambda unknowns: linearise(problem, at(unknowns.betas), unknowns.picture, free_betas),
        energy=energy,
        apply_step=apply,
        dense_unit=jnp.asarray(unit, problem.model.pose_basis.dtype),
    )


def _advance(context: _Rounds, lane: _Open, free_betas: bool) -> Lane:
    problem = picture_problem(context.problem, lane.picture, free_betas)
    opened = open_lane(problem, Free(lane.unknowns, lane.picture.betas))
    opened = opened._replace(damping=lane.damping, growth=lane.growth, predicted=lane.predicted)
    return jax.lax.while_loop(
        lambda lane: ~lane.converged & (lane.steps < context.steps),
        lambda lane: take_step(problem, lane, LMSettings(), context.tolerance),
        opened,
    )


def _advance_pose(context: _Rounds, lane: _Open) -> Lane:
    return _advance(context, lane, free_betas=False)


def _advance_shape(context: _Rounds, lane: _Open) -> Lane:
    return _advance(context, lane, free_betas=True)


def _starts_of(context: PosedContext, picture: Picture) -> PictureUnknowns:
    return find_starts(context.library, context.problem.noise, picture.observation, STARTS)


def _flips_of(model: PosedModel, free: Free) -> Float[Array, "flips latents"]:
    return mirrored_limbs(model, free.betas, free.picture, _FLIPS)


def rows(tree: Tree, index: Any) -> Tree:
    """Some rows of every array of a tree."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], tree)


def _grouped(tree: Tree, starts: int) -> Tree:
    """Lanes with a second axis: images, starts."""
    return jax.tree.map(lambda leaf: leaf.reshape(len(leaf) // starts, starts, *leaf.shape[1:]), tree)


def _flat(tree: Tree) -> Tree:
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), tree)


class Lanes(NamedTuple):
    """Lanes between rounds, ``images × starts`` of them in two axes."""

    unknowns: Free
    energy: Float[AnyArray, "images starts"]
    damping: Float[AnyArray, "images starts"]
    growth: Float[AnyArray, "images starts"]
    predicted: Float[AnyArray, "images starts"]
    converged: Bool[AnyArray, "images starts"]


def join_lanes(first: Lanes, second: Lanes) -> Lanes:
    return jax.tree.map(lambda a, b: np.concatenate([a, b], axis=1), first, second)


def best_lanes(lanes: Lanes, count: int) -> Lanes:
    # NaN sorts last; a stable sort keeps the order of starts where energies tie.
    order = np.argsort(lanes.energy, axis=1, kind="stable")[:, :count]
    return rows(lanes, (np.arange(len(order))[:, None], order))


def open_lanes(unknowns: PictureUnknowns, betas: AnyArray) -> Lanes:
    """Lanes before their first step: unknowns by picture and start, betas by picture or by both."""
    shape, dtype = unknowns.log_scale.shape, unknowns.log_scale.dtype
    betas = np.asarray(betas)
    by_start = betas if betas.ndim == 3 else np.broadcast_to(betas[:, None], (*shape, betas.shape[-1]))
    return Lanes(
        Free(unknowns, by_start),
        np.full(shape, np.inf, dtype),
        np.ones(shape, dtype),
        np.full(shape, GROWTH, dtype),
        np.full(shape, np.inf, dtype),
        np.zeros(shape, bool),
    )


def restarted(lanes: Lanes) -> Lanes:
    """The same unknowns before the first step, under another noise."""
    return open_lanes(lanes.unknowns.picture, lanes.unknowns.betas)


def coarser(context: PosedContext, factor: float) -> PosedContext:
    """The same problem with the noise multiplied by a factor."""
    return eqx.tree_at(lambda c: c.problem.noise.sigmas, context, context.problem.noise.sigmas * factor)


class Search:
    """The rounds for one chunk of pictures; counts the steps that each picture's lanes take."""

    def __init__(self, context: PosedContext, pictures: Picture) -> None:
        self.context = context
        self.pictures = pictures
        self.count = len(pictures.betas)
        self.steps = np.zeros(self.count, np.int32)

    def advance(
        self,
        lanes: Lanes,
        steps: int,
        free_betas: bool = False,
        width: float | None = None,
        tolerance: float = NEAR,
    ) -> Lanes:
        """Advance all lanes by a number of steps or until they converge."""
        starts = lanes.energy.shape[1]
        problem = self.context.problem
        if width is not None:
            widened = jnp.maximum(problem.noise.width, width)
            problem = eqx.tree_at(lambda p: p.noise.width, problem, widened)
        pictures = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf), starts, axis=0), self.pictures)
        unknowns = _flat(lanes.unknowns)
        pictures = Picture(pictures.observation, unknowns.betas)
        done: Lane = map_samples(
            _advance_shape if free_betas else _advance_pose,
            _Rounds(problem, np.asarray(steps, np.int32), np.asarray(tolerance, lanes.energy.dtype)),
            _Open(
                pictures,
                unknowns.picture,
                lanes.damping.reshape(-1),
                lanes.growth.reshape(-1),
                lanes.predicted.reshape(-1),
            ),
            TILE_SIZE,
        )
        self.steps += done.steps.reshape(self.count, starts).sum(axis=1)
        ended = Lanes(done.unknowns, done.energy, done.damping, done.growth, done.predicted, done.converged)
        return _grouped(ended, starts)

    def starts(self) -> Lanes:
        return open_lanes(map_samples(_starts_of, self.context, self.pictures, TILE_SIZE), self.pictures.betas)

    def flips(self, lanes: Lanes) -> Lanes:
        """New lanes with limbs mirrored in depth, for every given lane."""
        given = _flat(lanes.unknowns)
        latents = map_samples(_flips_of, self.context.model, given, TILE_SIZE)
        repeated = jax.tree.map(lambda leaf: np.repeat(leaf, _FLIPS, axis=0), given.picture)
        mirrored = eqx.tree_at(lambda u: u.latent, repeated, latents.reshape(-1, latents.shape[-1]))
        flips = lanes.energy.shape[1] * _FLIPS
        return open_lanes(_grouped(mirrored, flips), _grouped(np.repeat(given.betas, _FLIPS, axis=0), flips))

    def finish(self, lanes: Lanes, free_betas: bool) -> Lanes:
        """Advance one lane per picture until it converges, gathering unfinished lanes into full tiles."""
        lanes = jax.tree.map(np.array, lanes)
        open_rows = np.arange(self.count)
        for _ in range(0, MAX_STEPS, _FINISHING_STEPS):
            part = Search(self.context, rows(self.pictures, open_rows))
            advanced = part.advance(rows(lanes, open_rows), _FINISHING_STEPS, free_betas, tolerance=_FINISHED)
            self.steps[open_rows] += part.steps
            jax.tree.map(lambda whole, new, at=open_rows: whole.__setitem__(at, new), lanes, advanced)
            open_rows = open_rows[~advanced.converged[:, 0]]
            if not len(open_rows):
                break
        return lanes._replace(converged=lanes.converged | (lanes.predicted < NEAR))

    def run(self, free_betas: bool, initial: Lanes | None = None) -> Lanes:
        """Run the starts and return one finished lane per picture."""
        coarse = min(_COARSEST, _COARSE_SIGMA / float(np.max(self.context.problem.noise.sigmas)))
        if coarse > 1:
            search = Search(coarser(self.context, coarse), self.pictures)
            candidates = restarted(best_lanes(search.candidates(_KEPT + 1), _KEPT + 1))
            self.steps += search.steps
            best = best_lanes(self.advance(candidates, _REFINING_STEPS), 1)
            best = self.advance(best, _REFINING_STEPS)
            candidates = join_lanes(best, self.advance(self.flips(best), _SETTLING_STEPS))
        else:
            candidates = self.candidates(_KEPT)
        if initial is not None:
            candidates = join_lanes(self.advance(initial, _FLIP_STEPS), candidates)
        if free_betas:
            candidates = self.advance(best_lanes(candidates, 2), _FLIP_STEPS, free_betas=True)
        return self.finish(best_lanes(candidates, 1), free_betas)

    def candidates(self, kept: int) -> Lanes:
        """Several lanes per picture: the best starts, and the same with mirrored limbs."""
        lanes = self.advance(self.starts(), _SCREENING_STEPS, width=_SCREENING_WIDTH)
        settled = self.advance(best_lanes(lanes, kept), _SETTLING_STEPS)
        return join_lanes(settled, self.advance(self.flips(settled), _FLIP_STEPS))
