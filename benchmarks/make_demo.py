"""Make the keypoints that ``samebody demo`` uses: ``python -m benchmarks.make_demo``.

Five invented people, their shapes drawn from the shape prior of the embedded body and their poses from the shipped pose
prior, photographed from all around by an invented camera with the keypoint noise of a very good detector. Nobody's data
is in it.
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
from engine.body.schemas import COCO_17
from engine.scores import Status

NAMES = ("anna", "boris", "chen", "dalia", "emil")
REFERENCES = 6
PICTURES = 18
_NOISE = 0.003
_SEED = 20


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("adapters/jobs/demo_data"), show_default=True)
def make_demo(out: Path) -> None:
    """Write references.parquet (anna alone) and dataset.parquet (all five, who is who in the pictures' names)."""
    body = reduce_body(load_embedded_body(), COCO_17)
    settings = SyntheticSettings(
        people=len(NAMES), pictures=REFERENCES + PICTURES, seed=_SEED, noise_level=_NOISE, missing_rate=0.01
    )
    poses = sampled_poses(load_pose_prior(), count=len(NAMES) * (REFERENCES + PICTURES), seed=_SEED)
    pictures = make_pictures(body, poses, settings)
    out.mkdir(parents=True, exist_ok=True)

    def table(people: range, numbers: range) -> KeypointTable:
        rows = [(person, number) for person in people for number in numbers]
        index = tuple(np.array(rows).T)
        return KeypointTable(
            schema=COCO_17,
            image=pa.array([f"{NAMES[person]}_{number:02d}.jpg" for person, number in rows]),
            instance=np.zeros(len(rows), np.int32),
            keypoints=pictures.keypoints_px[index].round(2).astype(np.float32),
            confidence=pictures.confidence[index].astype(np.float32),
            status=np.full(len(rows), Status.OK, np.int8),
            detail=pa.nulls(len(rows), pa.string()),
        )

    write_keypoints(out / "references.parquet", table(range(1), range(REFERENCES)))
    write_keypoints(out / "dataset.parquet", table(range(len(NAMES)), range(REFERENCES, REFERENCES + PICTURES)))
    np.savetxt(out / "true_betas.csv", pictures.betas, fmt="%.4f", delimiter=",", header="one line a person, ten betas")
    click.echo(f"{REFERENCES} references and {len(NAMES) * PICTURES} pictures of {len(NAMES)} people in {out}")


if __name__ == "__main__":
    make_demo()
