"""Who is it, on real keypoints of four cameras: ``python -m benchmarks.real_identity DATA``.

DATA is a folder of MMPose prediction JSON with ``labels.json`` beside or above it (``benchmarks.real_keypoints``). For
each camera the shape of one identity is fitted to every tenth frame of it, and every instance of DATA and of the
folders beside it is scored against each of these shapes. Nothing is tuned on this data but the size of the assumed
noise (``engine.posed.fit.POSED_NOISE``) and the group correlation, which come from its documentation.
"""

from pathlib import Path

import click
import numpy as np

from adapters.commands.display import print_table
from adapters.keypoints.readers import read_keypoints
from benchmarks.identity_metrics import separation
from benchmarks.real_keypoints import load_labels
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.evidence.calibration import calibrated_pictures
from engine.evidence.calibration_file import default_calibration
from engine.evidence.comparison import fuse_groups, log_bayes_factors
from engine.evidence.shape_evidence import Evidence
from engine.evidence.stages import calibrated_people
from engine.posed.fit import make_context, observe_pictures
from engine.posed.scoring import compare, fit_own
from engine.posed.shared_shape import fit_shared_shapes
from engine.shape import Shape

_EVERY = 10


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--identity", default="adult_A", show_default=True, help="Whose shapes are fitted.")
def main(data: Path, identity: str) -> None:
    """Fit IDENTITY's shape to each camera in turn and score everybody against it."""
    folders = sorted(folder for folder in data.parent.iterdir() if folder.is_dir() and list(folder.glob("*.json")))
    labels = {key: who for folder in folders for key, who in load_labels(folder).items()}
    table = read_keypoints(folders)
    images = table.image.to_pylist()
    keys = list(zip(images, table.instance.tolist(), strict=True))
    who = np.array([labels.get(key, "unlabelled") for key in keys])
    clip = np.array([image.rpartition("_")[0] for image in images])
    context = make_context(reduce_body(load_embedded_body(), table.schema))
    pictures = fit_own(context, table.keypoints, table.confidence)
    calibration = default_calibration()
    evidence = calibrated_pictures(pictures.evidence, calibration)

    cameras = sorted(set(clip[who == identity]))
    frames = np.array([int(image.rpartition("_")[2]) for image in images])
    chosen = np.flatnonzero((who == identity) & (frames % _EVERY == 0))
    number = np.searchsorted(cameras, clip[chosen])
    shared = fit_shared_shapes(
        context, observe_pictures(context, table.keypoints[chosen], table.confidence[chosen]), number
    )
    people = []
    for camera in range(len(cameras)):
        one = Evidence(*(np.asarray(part[camera]) for part in shared.evidence))
        # Frames of one clip: as many pictures as their correlation leaves of them.
        count = int(np.sum(number == camera))
        weight = np.float32(1 / (1 + (count - 1) * calibration.group_correlation))
        people.append(
            Shape(
                shared.betas[camera],
                "",
                "",
                "",
                "free",
                evidence=Evidence(*(weight * part for part in one)),
            )
        )

    groups = sorted({(name, where) for name, where in zip(who, clip, strict=True) if name != "unlabelled"})
    known = calibrated_people(people, calibration)
    for camera, person in zip(cameras, people, strict=True):
        scores = compare(context, person, pictures)
        rows = []
        for name, where in groups:
            at = np.flatnonzero((who == name) & (clip == where))
            part = Evidence(*(np.asarray(values)[at] for values in evidence))
            together = fuse_groups(part, np.zeros(len(at), int), calibration.group_correlation)
            whole = Evidence(*(values[None] for values in together))
            columns = (scores.consistency, scores.same_body_probability, scores.log_bayes_factor)
            rows.append(
                (
                    f"{name}, {where}" + ("*" if where == camera and name == identity else ""),
                    str(len(at)),
                    *(f"{np.nanmedian(np.asarray(column)[at]):.2f}" for column in columns),
                    f"{np.nanmedian(np.asarray(scores.information_bits)[at]):.2f}",
                    f"{log_bayes_factors(whole, known)[0, cameras.index(camera)]:+.2f}",
                )
            )
        title = f"{identity} by {camera}, references every {_EVERY} frames"
        names = ("who, where (* references)", "rows", "consist.", "prob.", "log B", "bits", "together")
        print_table(title, names, rows)
        elsewhere = (who == identity) & (clip != camera)
        for other in sorted(set(who) - {identity, "unlabelled"}):
            pairs = elsewhere | (who == other)
            figures = [
                separation(np.asarray(column)[pairs], elsewhere[pairs]).auc
                for column in (scores.consistency, scores.log_bayes_factor)
            ]
            click.echo(f"area under ROC, {identity} elsewhere against {other}: consistency {figures[0]:.2f}, "
                       f"log Bayes factor {figures[1]:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
