"""``samebody calibrate``: how a detector sees people, from pictures of any people, best with labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.commands import options
from adapters.commands.compiling import enable_told_cache
from adapters.commands.display import say
from adapters.commands.help_text import Command
from adapters.commands.keypoint_input import Reading, read_table, reading_options
from adapters.commands.own_inputs import keep_inputs

if TYPE_CHECKING:
    import numpy as np

    from engine.evidence.calibration_estimate import CalibrationReport


@click.command(
    cls=Command,
    examples="""
    samebody calibrate pictures/ --out calibration.json
    samebody calibrate labelled/ --people labels.csv --out calibration.json
    samebody fit references/ --calibration calibration.json --out shape.npz
    """,
)
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--people",
    type=click.Path(path_type=Path),
    help="CSV with the columns image and person; instance, where pictures show several people; and group, where "
    "pictures are of one clip or camera.",
)
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The calibration file (.json)."
)
@click.option("--provenance", default="", help="A line about the data and the detector, kept in the file.")
@click.option(
    "--solver", type=click.Choice(["auto", "amortised", "lm", "joint"]), default="auto", show_default=True,
    help="Source of evidence of the scores to come: the body's evidence network (amortised), fits (lm), or both "
    "(joint). auto: the network if the body has one.",
)  # fmt: skip
@options.body
@options.schema
@reading_options
def calibrate(
    pictures: tuple[Path, ...],
    people: Path | None,
    out: Path,
    provenance: str,
    solver: str,
    body: str,
    schema: str | None,
    reading: Reading,
) -> None:
    """Estimate from PICTURES how their detector sees people.

    PICTURES are keypoint files, or folders of them. Two hundred pictures of many people are enough to estimate the
    noise of keypoints and the mean of the population as this detector shows it. With --people the command also
    estimates how much people differ, how much one person's apparent shape varies, and how strongly frames of one clip
    share errors. Then name the clip of each picture: with the column group in the CSV, or with names of video frames,
    NAME_000123.

    The command prints the gain on held-out pictures, and a warning if there is no gain.

    The noise of keypoints acts on fits: fit references and score pictures with the same calibration.
    """
    from adapters.bodies.find import find_body
    from adapters.jobs.calibrate import calibrate_from_labels, calibrate_from_pictures, read_labels
    from adapters.jobs.outline_use import check_clothes, unused_clothes
    from adapters.jobs.prepared import free_solver
    from engine.evidence.calibration_file import save_calibration

    keep_inputs(out, (*pictures, people, body))
    enable_told_cache("calibrate", solver)
    labels = None if people is None else read_labels(people)
    model, clothes = find_body(body), reading.options.clothes
    check_clothes(clothes, model, "free", free_solver(model, solver))
    table = read_table(pictures, schema, reading)
    if labels is None:
        about = provenance or f"{len(table)} pictures of unknown people, {table.schema.name}"
        report = calibrate_from_pictures(table, model, about, solver)
    else:
        who = len({label.person for label in labels.values()})
        about = provenance or f"{len(labels)} labelled pictures of {who} people, {table.schema.name}"
        report = calibrate_from_labels(table, labels, model, about, solver)
    save_calibration(out, report.calibration)
    click.echo("\n".join([*_lines(report), str(out)]))
    say(*unused_clothes(clothes, table.outlined))
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)


def _lines(report: CalibrationReport) -> list[str]:
    import numpy as np

    found = report.calibration
    # Left and right have the same noise.
    noise = ", ".join(
        f"{name.removeprefix('left_')} {factor:.2f}"
        for name, factor in found.keypoint_noise.items()
        if not name.startswith("right_")
    )
    mean, root = found.axes
    lines = [
        f"noise scale {found.noise_scale:.3f}",
        f"noise by keypoint, times what was assumed: {noise or '1 (not estimated with the network)'}",
        f"mean shape of the population {_numbers(mean, '+.2f')}",
        f"within-person variances {_numbers(np.diag(found.within_person), '.3f')}",
    ]
    if report.people is not None:
        lines += [
            f"variances of people {_numbers(np.diag(root @ root.T), '.2f')}",
            f"correlation within clips {found.group_correlation:.2f}",
        ]
    lines.append(
        f"log likelihood of pictures that it was not made from {report.log_likelihood_before:.3f} -> "
        f"{report.log_likelihood_after:.3f} nats per picture"
    )
    if report.calibration_error_before is not None and report.calibration_error_after is not None:
        lines.append(
            f"expected calibration error of people that it was not made from {report.calibration_error_before:.3f} -> "
            f"{report.calibration_error_after:.3f}"
        )
    if report.area_before is not None and report.area_after is not None:
        lines.append(
            f"area under the ROC curve of people that it was not made from, one picture against one "
            f"{report.area_before:.3f} -> {report.area_after:.3f}"
        )
    lines.append(f"lengths of limbs as evidence of their own: {'no' if found.limbs is None else 'yes'}")
    return lines


def _numbers(values: np.ndarray, form: str) -> str:
    return " ".join(format(value, form) for value in values)
