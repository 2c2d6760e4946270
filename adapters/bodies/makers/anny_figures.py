"""Errors of the embedded body as a copy of Anny, measured on held-out bodies.

Three errors are measured. *Shape*: a body's vertices against the nearest point of the shape basis, in T-pose. *Joints
and keypoints*: the regressors on Anny's own vertices against Anny's bones and keypoints, in T-pose. *Bent poses*: the
whole chain (fitted β, regressed joints, 24-joint skinning) against Anny in the same pose. Children are measured
separately, because the basis is made of adults.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from rich.console import Console
from rich.table import Table

from adapters.bodies.makers.anny_sampling import CHILDREN, AnnyModel, BodyParameters, bent_poses
from engine.body.model import BodyModel, PosedBody, pose_body, posed_keypoints
from engine.body.schema_tables import SMPL_24

BETA_COUNTS = (10, 16)
CHILD_DRAWS = 600
CHILD_STATURE_M = 1.2
CHILD_WINDOW_M = 0.02


class ShapeFit(NamedTuple):
    """Least squares fits of bodies by the first components of a body, without a prior."""

    betas: Float[np.ndarray, "bodies betas"]
    vertex_errors: Float[np.ndarray, "bodies vertices"]
    """Distances in metres."""


def fit_shapes(body: BodyModel, vertices: Float[np.ndarray, "bodies vertices 3"]) -> ShapeFit:
    """The nearest shapes to bodies in T-pose whose pelvis joint is first moved to the origin."""
    template, shapedirs = np.asarray(body.v_template, np.float64), np.asarray(body.shapedirs, np.float64)
    basis = shapedirs.reshape(-1, body.beta_count)
    differences = (_pelvis_at_origin(body, vertices) - template).reshape(len(vertices), -1)
    betas = np.linalg.solve(basis.T @ basis, basis.T @ differences.T).T
    residuals = (differences - betas @ basis.T).reshape(vertices.shape)
    return ShapeFit(betas, np.linalg.norm(residuals, axis=-1))


def _pelvis_at_origin(body: BodyModel, vertices: np.ndarray) -> Float[np.ndarray, "bodies vertices 3"]:
    pelvis = np.asarray(body.J_regressor[0], np.float64)
    return vertices - np.einsum("v,bvc->bc", pelvis, vertices, optimize=True)[:, None]


def regressed_joints(
    body: BodyModel, vertices: Float[np.ndarray, "bodies vertices 3"]
) -> Float[np.ndarray, "bodies joints 3"]:
    """The joint regressor on any vertices of this mesh."""
    return np.einsum("jv,bvc->bjc", np.asarray(body.J_regressor, np.float64), vertices, optimize=True)


def stature(vertices: Float[np.ndarray, "*bodies vertices 3"]) -> Float[np.ndarray, "*bodies"]:
    """Height of standing bodies, in metres."""
    return np.ptp(vertices[..., 1], axis=-1)


def measure(body: BodyModel, model: AnnyModel, held_out: BodyParameters, seed: int) -> dict[str, Any]:
    """All figures of a body, lengths in millimetres unless the key says metres, ready for JSON."""
    truth = model.t_pose(held_out)
    joint_errors = np.linalg.norm(regressed_joints(body, truth.vertices) - truth.joints, axis=-1)
    keypoints = _anny_keypoints(body, model, truth.vertices)
    ours = np.einsum("kv,bvc->bkc", np.asarray(body.keypoint_vertices, np.float64), truth.vertices, optimize=True)
    keypoint_errors = np.linalg.norm(ours - keypoints, axis=-1)
    areas = _vertex_areas(body)
    vertex_errors = {}
    for count in BETA_COUNTS:
        fit = fit_shapes(body.with_betas(count), truth.vertices)
        vertex_errors[str(count)] = {
            "mean": _mm(fit.vertex_errors.mean()),
            "p95": _mm(np.quantile(fit.vertex_errors, 0.95)),
            "area_mean": _mm((fit.vertex_errors @ areas).mean()),
            "mean_squared_beta": round(float(np.mean(np.sum(fit.betas**2, axis=1))), 2),
        }
    return {
        "held_out_bodies": len(held_out),
        "vertex_error": vertex_errors,
        "joint_error": dict(zip(SMPL_24, map(_mm, joint_errors.mean(axis=0)), strict=True)),
        "keypoint_error": dict(zip(body.keypoint_names, map(_mm, keypoint_errors.mean(axis=0)), strict=True)),
        "bent_poses": {str(count): _bent(body.with_betas(count), model, held_out, seed) for count in BETA_COUNTS},
        "stature_m": _statures(body),
        "children": _children(body, model, seed),
    }


def _mm(metres: float | np.floating) -> float:
    return round(1000 * float(metres), 2)


def _anny_keypoints(
    body: BodyModel, model: AnnyModel, vertices: Float[np.ndarray, "bodies vertices 3"]
) -> Float[np.ndarray, "bodies keypoints 3"]:
    """The body's keypoints from anny's dense regressors; midpoints and apex by their definitions."""
    labels, dense = model.keypoint_weights()
    points = dict(zip(labels, np.einsum("kv,bvc->kbc", dense, vertices, optimize=True), strict=True))
    points["neck"] = (points["left_shoulder"] + points["right_shoulder"]) / 2
    points["hip"] = (points["left_hip"] + points["right_hip"]) / 2
    points["head"] = np.einsum(
        "v,bvc->bc", np.asarray(body.keypoint_vertices[body.keypoint_names.index("head")]), vertices
    )
    return np.stack([points[name] for name in body.keypoint_names], axis=1)


def _vertex_areas(body: BodyModel) -> Float[np.ndarray, " vertices"]:
    """Each vertex's share of the skin: a third of the faces around it."""
    vertices, faces = np.asarray(body.v_template, np.float64), np.asarray(body.faces)
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    face_areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    areas = np.bincount(faces.ravel(), np.repeat(face_areas, 3), len(vertices))
    return areas / areas.sum()


def _bent(body: BodyModel, model: AnnyModel, held_out: BodyParameters, seed: int) -> dict[str, Any]:
    """Errors of the whole chain in random poses, pelvis on pelvis."""
    poses = bent_poses(len(held_out), seed)
    betas = fit_shapes(body, model.t_pose(held_out).vertices).betas
    truth = model.posed(held_out, poses)
    keypoints = _anny_keypoints(body, model, truth.vertices)

    @jax.jit
    def pose(betas: Float[Array, " betas"], pose: Float[Array, "joints 3"]) -> tuple[PosedBody, Array]:
        posed = pose_body(body, betas, pose)
        return posed, posed_keypoints(body, posed)

    vertex_errors, joint_errors, keypoint_errors = [], [], []
    for k in range(len(held_out)):
        posed, our_keypoints = pose(jnp.asarray(betas[k]), jnp.asarray(poses[k]))
        vertex_errors.append(np.linalg.norm(posed.vertices - truth.vertices[k], axis=-1))
        joint_errors.append(np.linalg.norm(posed.joints - truth.joints[k], axis=-1))
        keypoint_errors.append(np.linalg.norm(our_keypoints - keypoints[k], axis=-1))
    return {
        "vertex_error": {"mean": _mm(np.mean(vertex_errors)), "p95": _mm(np.quantile(vertex_errors, 0.95))},
        "joint_error": dict(zip(SMPL_24, map(_mm, np.mean(joint_errors, axis=0)), strict=True)),
        "keypoint_error": dict(zip(body.keypoint_names, map(_mm, np.mean(keypoint_errors, axis=0)), strict=True)),
    }


def _statures(body: BodyModel) -> dict[str, float]:
    """Statures of the mean and of both sides of the first three components, in metres."""
    template, shapedirs = np.asarray(body.v_template), np.asarray(body.shapedirs)
    statures = {"mean": round(float(stature(template)), 4)}
    for component in range(3):
        for beta in (-2, 2):
            key = f"beta{component}={beta:+d}"
            statures[key] = round(float(stature(template + beta * shapedirs[..., component])), 4)
    return statures


def _children(body: BodyModel, model: AnnyModel, seed: int) -> dict[str, Any]:
    """Errors of the basis of adults on children of about 1.2 m, unchanged and enlarged to the mean adult stature.

    A camera of unknown scale cannot distinguish the two; enlarged children test only a child's proportions.
    """
    bodies = model.t_pose(model.sample(CHILDREN, CHILD_DRAWS, seed)).vertices
    statures = stature(bodies)
    chosen = np.abs(statures - CHILD_STATURE_M) < CHILD_WINDOW_M
    enlarged = bodies[chosen] * (stature(np.asarray(body.v_template)) / statures[chosen])[:, None, None]
    results: dict[str, Any] = {
        "bodies": int(chosen.sum()),
        "stature_m": [round(float(edge(statures[chosen])), 3) for edge in (np.min, np.max)],
    }
    for count in BETA_COUNTS:
        cut = body.with_betas(count)
        results[str(count)] = {
            "as_they_are": _child_figures(fit_shapes(cut, bodies[chosen])),
            "enlarged": _child_figures(fit_shapes(cut, enlarged)),
        }
    return results


def _child_figures(fit: ShapeFit) -> dict[str, float]:
    norms = np.linalg.norm(fit.betas, axis=1)
    return {
        "vertex_error_mean": _mm(fit.vertex_errors.mean()),
        "vertex_error_p95": _mm(np.quantile(fit.vertex_errors, 0.95)),
        "beta_norm": round(float(norms.mean()), 2),
        "largest_beta": round(float(np.abs(fit.betas).max(axis=1).mean()), 2),
        "prior_energy": round(float(np.mean(norms**2) / 2), 1),
    }


def print_figures(figures: dict[str, Any]) -> None:
    """The figures as tables on standard output."""
    console = Console(width=110)
    shape = Table("betas", "mean mm", "p95 mm", "mean by area", "variance", title="Shape, held-out bodies in T-pose")
    vertex_error = figures["vertex_error"]
    for count, error in vertex_error.items():
        share = sum(figures["explained_variance"][: int(count)])
        shape.add_row(count, f"{error['mean']:.2f}", f"{error['p95']:.2f}", f"{error['area_mean']:.2f}", f"{share:.2%}")
    console.print(shape)
    bent = figures["bent_poses"]
    for kind in ("joint_error", "keypoint_error"):
        table = Table(kind, "T-pose mm", *(f"bent, {count} betas" for count in bent), title=f"Mean {kind}")
        for name, error in figures[kind].items():
            table.add_row(name, f"{error:.2f}", *(f"{bent[count][kind][name]:.2f}" for count in bent))
        console.print(table)
    children = figures["children"]
    table = Table("betas", "size", *children["10"]["enlarged"], title=f"{children['bodies']} children of 1.2 m")
    for count in vertex_error:
        for size, row in children[count].items():
            table.add_row(count, size, *(str(value) for value in row.values()))
    console.print(table)
    console.print("explained variance:", *figures["explained_variance"])
    console.print("statures in m:", figures["stature_m"])
    for count, errors in bent.items():
        console.print(f"vertices in bent poses, {count} betas, mm:", errors["vertex_error"])
