"""One shape for all references of a person, each picture with its own pose and camera.

Poses are found for the average shape first; then the shapes of all people and the poses of all their pictures are
fitted together (``engine.posed.joint_fit``). One picture in a wrong pose can give a wrong shape, and vice versa. So
poses are searched again at the fitted shape, and if any fits better, the person is fitted once more.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from engine.evidence.shape_evidence import Evidence
from engine.picture.observation import Observation
from engine.posed.first_order import posed_loop
from engine.posed.fit import assemble, fit_poses, fit_shapes, make_pictures
from engine.posed.joint_fit import JointFit
from engine.posed.problem import Picture
from engine.posed.results import PosedFit, shape_evidence
from engine.posed.search import Free, Lanes, PosedContext, rows

_SEARCHES = 3
_WORTH_ANOTHER_FIT = 1e-2
"""Nats per picture: a decrease that makes another joint fit worthwhile."""


class SharedFit(NamedTuple):
    """The shapes of several people."""

    betas: Float[np.ndarray, "people betas"]
    evidence: Evidence
    """Joint evidence of all references of each person."""
    energy: Float[np.ndarray, " people"]
    """Energy of all references of each person, with ½ |β|², in nats."""
    steps: Int[np.ndarray, " people"]
    """Number of joint steps; steps of the searches are in ``references``."""
    converged: Bool[np.ndarray, " people"]
    references: PosedFit
    """Fit of every picture at its person's shape, in the given order."""
    own_evidence: Evidence
    """Raw evidence of each picture; zeros if it could not be used."""

    @property
    def covariance(self) -> Float[np.ndarray, "people betas betas"]:
        """Posterior covariance of the shapes: (Λ + I)⁻¹."""
        return np.linalg.inv(self.evidence.precision + np.eye(self.betas.shape[-1]))


def fit_shared_shapes(
    context: PosedContext,
    observations: Observation,
    person: Int[np.ndarray, " images"],
    solver: str = "auto",
) -> SharedFit:
    """One shape per person from all pictures of that person, under the prior β ~ N(0, I).

    Args:
        person: number of the person in each picture: 0, 1, … without gaps; numbers of pictures may differ.
        solver: one of ``engine.posed.first_order.SOLVERS``.

    Raises:
        ValueError: a number is left out, a person has no usable picture, or no such solver.
    """
    average = np.zeros(context.model.beta_count)
    given = make_pictures(context, observations, average)
    person = np.asarray(person)
    if person.shape != (len(given.betas),) or not len(person) or not np.isin(np.arange(person.max() + 1), person).all():
        raise ValueError(f"person must number the people on {len(given.betas)} pictures 0, 1, … without a gap")
    loop = posed_loop(solver)
    first = fit_poses(context, observations, average, solver=solver)
    usable = np.flatnonzero(np.isfinite(first.energy))
    alone = np.bincount(person[usable], minlength=person.max() + 1)[person] == 1
    if alone.any():
        # A person's only picture is fitted like any picture, so that scoring it later finds the same fit.
        single = np.flatnonzero(alone)
        own = fit_shapes(context, rows(given.observation, single), solver)
        first = jax.tree.map(np.array, first)
        jax.tree.map(lambda every, new: every.__setitem__(single, new), first, own)
    lost = np.setdiff1d(person, person[usable])
    if len(lost):
        raise ValueError(f"person {lost[0]} has no picture with enough keypoints to fit a shape")

    steps, codes = np.asarray(first.steps)[usable], np.asarray(first.swapped_labels)[usable]
    joint = JointFit(context.problem, rows(first.pictures, usable), rows(first.unknowns, usable), person[usable])
    joint.run(loop)
    searched = joint.references > 1
    for _ in range(_SEARCHES - 1 if searched.any() else 0):
        at = np.flatnonzero(searched[joint.person])
        present = rows(joint.at_betas(), at)
        own = rows(joint.unknowns, at)
        found = fit_poses(context, present.observation, present.betas, own, solver)
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
    # Rows of pictures that could not be fitted have their person's shape too.
    given = Picture(given.observation, joint.betas[person].astype(given.betas.dtype))
    fit = assemble(context, given, usable, _final_lanes(joint), steps, codes)
    own = shape_evidence(context, fit)
    dtype = given.betas.dtype
    evidence = Evidence(
        joint.total(own.precision[usable]).astype(dtype), joint.total(own.information[usable]).astype(dtype)
    )
    return SharedFit(joint.betas.astype(dtype), evidence, joint.energy, joint.steps, joint.converged, fit, own)


def _final_lanes(joint: JointFit) -> Lanes:
    """One lane per picture, as ``assemble`` takes them."""
    return Lanes(
        unknowns=jax.tree.map(lambda leaf: leaf[:, None], Free(joint.unknowns, joint.at_betas().betas)),
        energy=joint.picture_energies()[:, None],
        damping=joint.damping[joint.person, None],
        growth=joint.growth[joint.person, None],
        predicted=np.full((len(joint.person), 1), np.inf),
        converged=joint.converged[joint.person, None],
    )
