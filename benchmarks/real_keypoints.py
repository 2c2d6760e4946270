"""What scores are worth on real keypoints: ``python -m benchmarks.real_keypoints DATA``.

DATA is a folder of MMPose prediction JSON with ``labels.json`` beside or above it: {file: {frame: [identity of each
instance]}}. A shape is fitted to one identity; every instance of every file is scored against it.
"""

import json
import tempfile
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq
from scipy.stats import mannwhitneyu

from adapters.commands.display import print_table
from adapters.jobs.fit import fit_references
from adapters.jobs.score import score_to_file
from adapters.jobs.scorer import ScoreSettings
from adapters.keypoints.readers import open_keypoints, read_keypoints
from engine.body.embedded import load_embedded_body


def load_labels(data: Path) -> dict[tuple[str, int], str]:
    """Identity of every (image, instance), images named as the readers name them."""
    path = next(folder / "labels.json" for folder in (data, *data.parents) if (folder / "labels.json").exists())
    labels = {}
    for file, frames in json.loads(path.read_text()).items():
        if file.startswith(data.name):
            for frame, identities in frames.items():
                for instance, identity in enumerate(identities):
                    labels[f"{Path(file).stem}_{int(frame):06d}", instance] = identity
    return labels


def area_under_roc(same: np.ndarray, different: np.ndarray) -> float:
    """Probability that a score of the same person is above one of another."""
    return float(mannwhitneyu(same, different).statistic / (len(same) * len(different)))


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--references", default="T01_balancing", show_default=True, help="Files that the shape is fitted to.")
@click.option("--identity", default="adult_A", show_default=True, help="Who is in them.")
def main(data: Path, references: str, identity: str) -> None:
    """Fit IDENTITY's shape and score everybody against it."""
    labels = load_labels(data)
    body = load_embedded_body()
    shape = fit_references(read_keypoints(sorted(data.glob(f"{references}*.json"))), body)
    strangers = [r.image for r in shape.references if labels.get((r.image, r.instance)) != identity]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scores.parquet"
        score_to_file(open_keypoints([data]), body, shape, out, ScoreSettings(fit=True))
        rows = pq.read_table(out).to_pylist()
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        who = labels.get((row["image"], row["instance"]), "unlabelled")
        groups.setdefault((who, row["image"].rpartition("_")[0]), []).append(row)
    click.echo(f"{len(shape.references)} references, {len(strangers)} of them not {identity}; {len(rows)} rows")
    click.echo("betas " + " ".join(f"{beta:+.1f}" for beta in shape.betas))

    def median(group: list[dict], column: str) -> float:
        return float(np.nanmedian([row[column] for row in group]))

    print_table(
        f"scores against {identity}",
        ("who, where", "rows", "consistency", "error, % of height", "OKS"),
        [
            (
                f"{who}, {where}",
                str(len(group)),
                f"{median(group, 'consistency'):.3f}",
                f"{100 * median(group, 'reprojection_error'):.1f}",
                f"{median(group, 'oks'):.2f}",
            )
            for (who, where), group in sorted(groups.items())
        ],
    )
    scores = {
        who: np.array([row["consistency"] for (name, _), group in groups.items() if name == who for row in group])
        for who, _ in groups
    }
    for who, values in sorted(scores.items()):
        if who != identity:
            click.echo(f"area under ROC, {identity} against {who}: {area_under_roc(scores[identity], values):.2f}")


if __name__ == "__main__":
    main()
