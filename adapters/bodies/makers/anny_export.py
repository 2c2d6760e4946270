"""Make the embedded body from the anny package: ``python -m adapters.bodies.makers.anny_export --out
engine/body/data/anny24.npz``.

Adults drawn from anny's phenotype distribution stand in a T-pose; their symmetrised mean and principal components are
template and shape basis (β ~ N(0, I) over these adults), regressors are fitted to anny's bones and keypoints, skinning
weights are summed over the bones of a joint. The errors are measured on held-out bodies, printed, and kept in the
header of the file. The bodies come from adapters/bodies/makers/anny_sampling.py, the algebra from
adapters/bodies/makers/anny_fitting.py, the figures from adapters/bodies/makers/anny_figures.py.

The anny package is needed at build time only. Everything is seeded: the same machine gives the same arrays again.
``--seed`` draws other adults: their mean, their components and the regressors that are fitted to them make another
body of the same family, with betas that are not the embedded body's. Benchmarks use it for people whom no network and
no fit was made from (``python -m benchmarks.outlines --body``).
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from jaxtyping import Float, Int

from adapters.bodies.makers.anny_figures import BETA_COUNTS, measure, print_figures
from adapters.bodies.makers.anny_fitting import (
    Mirror,
    displacements_on_grid,
    find_mirror,
    regressor_on_grid,
    shape_components,
    sparse_regressor,
    swapped_names,
    symmetric_skinning,
    symmetrised,
)
from adapters.bodies.makers.anny_sampling import ADULTS, PARENTS, AnnyModel, BodyParameters, bent_poses
from engine.body.body_file import BodyProvenance, build_body, save_body
from engine.body.model import BodyModel
from engine.body.schema_tables import HALPE_26, SMPL_24

NAME = "Anny-24 (SMPL layout)"
LICENCE = "Apache-2.0 (anny, NAVER Corp.); underlying MakeHuman/MPFB2 data CC0-1.0"
BODIES = 2400
REGRESSOR_BODIES = 400
"""Number of bodies that regressors are fitted to; 800 gain at most 0.1 mm at any joint."""
SEED = 1
BETA_COUNT = 16
JOINT_VERTICES = 24
KEYPOINT_VERTICES = 16
JOINT_REACH_M = 0.6
"""Largest distance of a regressor's vertices from its joint. A weighted mean of the nearby skin misses Anny's bones:
within 0.15 m spine3 is off by 16 mm and spine1 by 10, within 0.6 m by 7.5 and 3.4 (benchmarks/results.md, Embedded
body)."""
KEYPOINT_REACH_M = 0.18
"""The same for keypoints, which must hold in bent poses: at 0.06 m shoulders are off by 7 mm, at 0.18 m by 0.1 mm."""
CANDIDATES = 2400
_OFF_MIDDLE_M = 0.05
"""Joints farther than this from the middle are regressed from their own side alone; the collar bones meet in it."""
TEMPLATE_RESOLUTION_M = 1e-7
SHAPE_RESOLUTION_M = 1e-5
"""Displacements per unit of β are rounded to this, which keeps the file under 1.2 MB."""
_MIDPOINTS = {"neck": "left_shoulder", "hip": "left_hip"}
"""Keypoints that are the middle between a keypoint and its counterpart, as OpenPose defines them for BODY_25."""


class MadeBody(NamedTuple):
    body: BodyModel
    explained_variance: Float[np.ndarray, " betas"]
    """Share of the variance that each component carries."""


def make_body(model: AnnyModel, seed: int = SEED, components: int = BETA_COUNT) -> MadeBody:
    """The body, on the grid that its file is written on.

    Args:
        seed: for the bodies and for the poses that keypoints are fitted in.
        components: number of principal components that are kept, at most ``BODIES``.
    """
    mirror = find_mirror(model.template, SMPL_24)
    parameters = model.sample(ADULTS, BODIES, seed)
    drawn = model.t_pose(parameters)
    bodies = symmetrised(drawn.vertices.astype(np.float32), mirror.vertices)
    joints = symmetrised(drawn.joints, mirror.joints)
    few = slice(0, REGRESSOR_BODIES)

    joint_rows = _joint_regressor(bodies[few], joints[few], mirror)
    bodies -= np.einsum("v,bvc->bc", joint_rows[0], bodies, optimize=True)[:, None].astype(np.float32)
    shapes = shape_components(bodies, mirror, components)

    bent = BodyParameters(parameters.phenotypes[few], parameters.local_changes[few])
    posed = model.posed(bent, bent_poses(len(bent), seed)).vertices
    arrays = {
        "v_template": displacements_on_grid(shapes.template, joint_rows[0], mirror, TEMPLATE_RESOLUTION_M),
        "shapedirs": displacements_on_grid(shapes.shapedirs, joint_rows[0], mirror, SHAPE_RESOLUTION_M),
        "posedirs": np.zeros((*shapes.template.shape, 0)),
        "J_regressor": joint_rows,
        "weights": symmetric_skinning(model.skinning_weights(), mirror),
        "faces": model.faces,
        "keypoint_vertices": _keypoint_regressor(model, shapes.template, posed, mirror),
        "keypoint_joints": np.zeros((len(HALPE_26), len(SMPL_24))),
        "keypoint_names": np.array(HALPE_26),
        "parents": np.array(PARENTS),
    }
    return MadeBody(build_body(arrays, NAME, "anny"), shapes.explained)


def _near(
    vertices: Float[np.ndarray, "vertices 3"], point: Float[np.ndarray, "3"], reach_m: float, from_x_m: float
) -> Int[np.ndarray, " near"]:
    """Vertices around a point and not to the right of ``from_x_m``, thinned evenly if they are many."""
    near = np.flatnonzero((np.linalg.norm(vertices - point, axis=1) < reach_m) & (vertices[:, 0] >= from_x_m))
    return near[:: -(-len(near) // CANDIDATES)]


def _joint_regressor(
    bodies: Float[np.ndarray, "bodies vertices 3"], joints: Float[np.ndarray, "bodies joints 3"], mirror: Mirror
) -> Float[np.ndarray, "joints vertices"]:
    mean = bodies.mean(axis=0)
    rows = np.zeros((len(SMPL_24), bodies.shape[1]))
    for j, name in enumerate(SMPL_24):
        if name.startswith("right_"):
            continue
        sided = name.startswith("left_")
        place = joints[:, j].mean(axis=0)
        near = _near(mean, place, JOINT_REACH_M, -np.inf if sided and place[0] < _OFF_MIDDLE_M else 0.0)
        rows[j] = sparse_regressor(bodies, joints[:, j], near, JOINT_VERTICES, None if sided else mirror)
        if sided:
            rows[mirror.joints[j]] = rows[j, mirror.vertices]
    return regressor_on_grid(rows)


def _keypoint_regressor(
    model: AnnyModel,
    template: Float[np.ndarray, "vertices 3"],
    posed: Float[np.ndarray, "bodies vertices 3"],
    mirror: Mirror,
) -> Float[np.ndarray, "keypoints vertices"]:
    """anny's dense keypoints refitted to few vertices, over bodies in bent poses, where they have to hold."""
    labels, dense = model.keypoint_weights()
    targets = np.einsum("kv,bvc->bkc", dense, posed, optimize=True)
    counterpart = swapped_names(labels)
    rows = np.zeros((len(HALPE_26), len(template)))
    for k, name in enumerate(HALPE_26):
        if name == "head":
            rows[k, np.argmax(np.where(mirror.middle, template[:, 1], -np.inf))] = 1.0
        elif not name.startswith("right_"):
            label = labels.index(_MIDPOINTS.get(name, name))
            sided = name.startswith("left_")
            target = targets[:, label] if sided else (targets[:, label] + targets[:, counterpart[label]]) / 2
            near = _near(template, dense[label] @ template, KEYPOINT_REACH_M, 0.0)
            rows[k] = sparse_regressor(posed, target, near, KEYPOINT_VERTICES, None if sided else mirror)
            if sided:
                rows[swapped_names(HALPE_26)[k]] = rows[k, mirror.vertices]
    return regressor_on_grid(rows)


@click.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The .npz to write.")
@click.option("--held-out", default=400, show_default=True, help="Bodies that the figures are measured on.")
@click.option("--seed", default=SEED, show_default=True, help="Draws the bodies; another seed makes another body.")
@click.option("--components", default=BETA_COUNT, show_default=True, type=click.IntRange(max(BETA_COUNTS), BODIES))
def main(out: Path, held_out: int, seed: int, components: int) -> None:
    """Make the embedded body from the anny package and print its errors."""
    start = time.perf_counter()
    try:
        model = AnnyModel()
    except ImportError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    body, explained_variance = make_body(model, seed, components)
    figures = measure(body, model, model.sample(ADULTS, held_out, seed + 1), seed + 2)
    figures["explained_variance"] = [round(float(share), 5) for share in explained_variance]
    details = {"bodies": BODIES, "population": asdict(ADULTS), "seed": seed, "figures": figures}
    provenance = BodyProvenance(NAME, f"anny {model.version}", LICENCE, json.dumps(details))
    save_body(out, body, provenance, quantise=True)
    print_figures(figures)
    click.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB, made in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
