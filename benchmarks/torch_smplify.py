"""Posed fits as a user would otherwise write them: SMPLify's scheme in PyTorch, through smplx and the full mesh.

The same energy as samebody's, so that errors can be compared: Geman-McClure on whitened keypoints, a Gaussian pose
prior (θ = μ + A z) and soft hinges; β is given. As SMPLify does (Bogo et al., ECCV 2016), orientation and camera come
first, then everything, and the person is tried from the front and from behind. Adam has all pictures in one tensor;
L-BFGS goes picture by picture, since its line search would couple them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from benchmarks.torch_recipe import smplx_model
from engine.body.model import BodyModel
from engine.body.pose_prior import PosePrior

Optimiser = Literal["adam", "lbfgs"]
STEPS = 100
"""In each of the two stages."""


@dataclass(frozen=True)
class TorchProblem:
    """Pictures in person heights, and what they are fitted with."""

    body: BodyModel
    prior: PosePrior
    keypoint_names: tuple[str, ...]
    points: np.ndarray
    confidence: np.ndarray
    sigmas: np.ndarray
    width: float
    betas: np.ndarray

    def only(self, picture: int) -> "TorchProblem":
        one = slice(picture, picture + 1)
        return replace(self, points=self.points[one], confidence=self.confidence[one])

    def energy_function(self) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
        """Energies (N,) from orientation (N, 3), whitened pose (N, 69), log scale (N,) and translation (N, 2)."""
        model = smplx_model(self.body)
        rows = [self.body.keypoint_names.index(name) for name in self.keypoint_names]
        regressor = torch.tensor(np.asarray(self.body.keypoint_vertices)[rows])
        mean, axes = (torch.tensor(np.asarray(array)) for array in (self.prior.mean, self.prior.axes))
        hinge_axes = torch.tensor(np.asarray(self.prior.hinges.axes))
        lower, upper, softness = (
            torch.tensor(np.asarray(array))
            for array in (self.prior.hinges.lower, self.prior.hinges.upper, self.prior.hinges.softness)
        )
        target, weights = torch.tensor(self.points), torch.tensor(self.confidence)
        sigmas = torch.tensor(np.asarray(self.sigmas, np.float32))
        betas = torch.tensor(np.asarray(self.betas, np.float32))
        down = torch.tensor([1.0, -1.0])
        model.train(False)

        def energy(orientation, latent, log_scale, translation):
            pose = mean + latent @ axes.T
            vertices = model(betas=betas.expand(len(latent), -1), global_orient=orientation, body_pose=pose).vertices
            plane = (regressor @ vertices)[..., :2] * down
            projected = log_scale.exp()[:, None, None] * plane + translation[:, None]
            squared = weights * (((target - projected) / sigmas[:, None]) ** 2).sum(-1)
            robust = squared * self.width**2 / (self.width**2 + squared)
            flexion = (pose.reshape(len(latent), -1, 3)[:, list(self.prior.hinges.joints)] * hinge_axes).sum(-1)
            beyond = (flexion - upper).clamp(min=0) + (lower - flexion).clamp(min=0)
            return 0.5 * (robust.sum(1) + (latent**2).sum(1) + ((beyond / softness) ** 2).sum(1))

        return energy


def smplify(problem: TorchProblem, optimiser: Optimiser, steps: int = STEPS) -> np.ndarray:
    """The lowest energy of each picture over both starts, in nats."""
    if optimiser == "lbfgs" and len(problem.points) > 1:
        return np.concatenate([smplify(problem.only(i), optimiser, steps) for i in range(len(problem.points))])
    energy = problem.energy_function()
    return np.minimum(*(_fit(problem, energy, optimiser, steps, yaw) for yaw in (0.0, np.pi)))


def _fit(problem: TorchProblem, energy, optimiser: Optimiser, steps: int, yaw: float) -> np.ndarray:
    count = len(problem.points)
    orientation = torch.tensor([[0.0, yaw, 0.0]]).repeat(count, 1).requires_grad_()
    latent = torch.zeros((count, len(problem.prior.mean)), requires_grad=True)
    log_scale = torch.full((count,), float(np.log(1 / 1.7)), requires_grad=True)
    translation = torch.zeros((count, 2), requires_grad=True)
    unknowns = (orientation, latent, log_scale, translation)
    for free in ((orientation, log_scale, translation), unknowns):
        if optimiser == "adam":
            descent = torch.optim.Adam(free, lr=0.05)
            for _ in range(steps):
                descent.zero_grad()
                energy(*unknowns).sum().backward()
                descent.step()
        else:
            descent = torch.optim.LBFGS(free, max_iter=steps, history_size=20, line_search_fn="strong_wolfe")

            def closure(descent=descent):
                descent.zero_grad()
                total = energy(*unknowns).sum()
                total.backward()
                return total

            descent.step(closure)
    with torch.no_grad():
        return energy(*unknowns).numpy()
