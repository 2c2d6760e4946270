"""Make the keypoints that ``samebody demo`` uses: ``python -m benchmarks.make_demo``.

Five invented people, their shapes drawn from the shape prior of the embedded body and their poses from the shipped pose
prior, photographed from all around. Their 26 keypoints (Halpe) are as far off as those of a good detector on real
pictures: noise of one per cent of stature, a bias of each person's clothes, outliers, and keypoints that are not seen.
Nobody's data is in it.
"""

from pathlib import Path

import click
import numpy as np
import pyarrow as pa

from adapters.keypoints.table import KeypointTable
from adapters.keypoints.writers import write_keypoints
from benchmarks.synthetic import SyntheticSettings, make_pictures, sampled_poses
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import HALPE_26
from engine.scores import Status

NAMES = ("anna", "boris", "chen", "dalia", "emil")
REFERENCES = 16
PICTURES = 24
_NOISE = 0.01
_SEED = 25
"""People and pictures drawn with other seeds are described in benchmarks/results.md, "Evidence by simulation"."""


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("adapters/jobs/demo_data"), show_default=True)
def make_demo(out: Path) -> None:
    """Write references.parquet (anna alone) and dataset.parquet (all five, who is who in the pictures' names)."""
    body = reduce_body(load_embedded_body(), HALPE_26)
    settings = SyntheticSettings(
        people=len(NAMES),
        pictures=REFERENCES + PICTURES,
        seed=_SEED,
        noise_level=_NOISE,
        clothes_bias_level=0.002,
        outlier_rate=0.002,
        outlier_deviation=0.04,
        missing_rate=0.03,
    )
    poses = sampled_poses(load_pose_prior(), count=len(NAMES) * (REFERENCES + PICTURES), seed=_SEED)
    pictures = make_pictures(body, poses, settings)
    # A detector's confidence tells roughly how far a keypoint is off.
    off = (
        np.linalg.norm(pictures.keypoints_px - pictures.true_keypoints_px, axis=-1)
        / pictures.person_height_px[..., None]
    )
    wobble = np.random.default_rng(_SEED).uniform(-0.08, 0.08, off.shape)
    confidence = np.where(pictures.confidence > 0, np.clip(0.95 - 3 * off + wobble, 0.35, 1.0), 0.0)
    out.mkdir(parents=True, exist_ok=True)

    def table(people: range, numbers: range) -> KeypointTable:
        rows = [(person, number) for person in people for number in numbers]
        index = tuple(np.array(rows).T)
        return KeypointTable(
            schema=HALPE_26,
            image=pa.array([f"{NAMES[person]}_{number:02d}.jpg" for person, number in rows]),
            instance=np.zeros(len(rows), np.int32),
            keypoints=pictures.keypoints_px[index].round(2).astype(np.float32),
            confidence=confidence[index].round(3).astype(np.float32),
            status=np.full(len(rows), Status.OK, np.int8),
            detail=pa.nulls(len(rows), pa.string()),
        )

    write_keypoints(out / "references.parquet", table(range(1), range(REFERENCES)))
    write_keypoints(out / "dataset.parquet", table(range(len(NAMES)), range(REFERENCES, REFERENCES + PICTURES)))
    np.savetxt(out / "true_betas.csv", pictures.betas, fmt="%.4f", delimiter=",", header="one line a person, ten betas")
    click.echo(f"{REFERENCES} references and {len(NAMES) * PICTURES} pictures of {len(NAMES)} people in {out}")


if __name__ == "__main__":
    make_demo()
