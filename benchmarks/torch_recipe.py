"""The original recipe, as a user would otherwise write it: PyTorch, smplx, Adam, 50 steps, the full mesh.

``per_picture`` fits the camera of one picture at a time, with the body run through smplx in every step.
``vectorised`` fits the cameras of many pictures in one tensor; the body does not change, so one run through smplx per
step serves all. Both solve samebody's rest-pose problem for the camera: the same weights, the same units.
"""

from collections.abc import Callable

import numpy as np
import smplx
import torch
from smplx.utils import Struct
from smplx.vertex_ids import vertex_ids

from engine.body.model import BodyModel

STEPS = 50
LEARNING_RATE = 0.1


def smplx_model(body: BodyModel) -> smplx.SMPL:
    """A live smplx model of one of our bodies."""
    template = np.asarray(body.v_template, np.float64)
    joints = body.joint_count
    posedirs = np.asarray(body.posedirs, np.float64)
    data = Struct(
        v_template=template,
        shapedirs=np.asarray(body.shapedirs, np.float64),
        posedirs=posedirs if posedirs.size else np.zeros((len(template), 3, 9 * (joints - 1))),
        J_regressor=np.asarray(body.J_regressor, np.float64),
        weights=np.asarray(body.weights, np.float64),
        f=np.asarray(body.faces),
        kintree_table=np.array([body.parents, range(joints)]),
    )
    # smplx wants to pick face and finger vertices of SMPL's mesh; nothing here reads those picks.
    picks = dict.fromkeys(vertex_ids["smplh"], 0)
    return smplx.SMPL(model_path="", data_struct=data, num_betas=body.beta_count, vertex_ids=picks)


def keypoint_function(body: BodyModel, names: tuple[str, ...]) -> Callable[[torch.Tensor], torch.Tensor]:
    """From betas (1, B) to keypoints (K, 3) in metres, through the full mesh."""
    model = smplx_model(body)
    regressor = torch.tensor(np.asarray(body.keypoint_vertices)[[body.keypoint_names.index(n) for n in names]])

    def keypoints(betas: torch.Tensor) -> torch.Tensor:
        return regressor @ model(betas=betas).vertices[0]

    return keypoints


def fit_cameras(
    keypoints: Callable[[torch.Tensor], torch.Tensor],
    betas: np.ndarray,
    points: np.ndarray,
    confidence: np.ndarray,
    sigmas: np.ndarray,
    steps: int = STEPS,
) -> np.ndarray:
    """Fit the cameras of (N, K, 2) normalised pictures together; returns each RMS error, in person heights."""
    shape = torch.tensor(np.asarray(betas, np.float32))[None]
    target = torch.tensor(points)
    weights = torch.tensor(confidence / confidence.sum(axis=1, keepdims=True))
    whitened = weights / torch.tensor(sigmas / sigmas.mean()) ** 2
    scale = torch.full((len(points), 1, 1), 0.6, requires_grad=True)
    translation = torch.zeros((len(points), 1, 2), requires_grad=True)
    optimiser = torch.optim.Adam([scale, translation], lr=LEARNING_RATE)

    def squared_distances() -> torch.Tensor:
        plane = keypoints(shape)[:, :2] * torch.tensor([1.0, -1.0])
        return ((scale * plane + translation - target) ** 2).sum(-1)

    for _ in range(steps):
        optimiser.zero_grad()
        (whitened * squared_distances()).sum().backward()
        optimiser.step()
    with torch.no_grad():
        return (weights * squared_distances()).sum(1).sqrt().numpy()


def per_picture(
    keypoints: Callable[[torch.Tensor], torch.Tensor],
    betas: np.ndarray,
    points: np.ndarray,
    confidence: np.ndarray,
    sigmas: np.ndarray,
) -> np.ndarray:
    """``fit_cameras`` one picture at a time, as the original recipe does."""
    one_by_one = [slice(i, i + 1) for i in range(len(points))]
    return np.concatenate([fit_cameras(keypoints, betas, points[one], confidence[one], sigmas) for one in one_by_one])
