"""``samebody fit``: one shape from reference keypoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.commands import options
from adapters.commands.choices import PERSONS
from adapters.commands.compiling import enable_told_cache
from adapters.commands.detector_options import detector_option, photograph_table
from adapters.commands.display import failed_lines, say
from adapters.commands.help_text import Command
from adapters.commands.keypoint_input import Reading, read_references, reading_options
from adapters.commands.own_inputs import keep_inputs
from engine.scores import LABELS, Mode

if TYPE_CHECKING:
    from adapters.jobs.fit import Person
    from adapters.keypoints.detectors.choice import DetectorName
    from adapters.keypoints.table import KeypointTable
    from engine.shape import Shape


@click.command(
    cls=Command,
    examples="""
    samebody fit cam01.json cam02.json --out shape.npz
    samebody fit references/ --body smpl_neutral.npz --out shape.npz
    samebody fit photos/ --detector mediapipe --out shape.npz
    """,
)
@click.argument("references", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Shape file to write (.npz)."
)
@click.option(
    "--person",
    type=click.Choice(PERSONS),
    default="largest",
    show_default=True,
    help="Choice in pictures of several people: the one with the largest box, or all (one person each).",
)
@click.option(
    "--drop-outliers",
    is_flag=True,
    help="Fit again without references that do not look like the others.",
)
@options.body
@click.option("--pose", type=click.Choice(["free", "rest"]), default="free", show_default=True, help=options.FREE_HELP)
@options.solver
@options.calibration
@options.focal_length
@options.schema
@reading_options
@detector_option(help="REFERENCES are photographs, and this detector finds the keypoints first (docs/detectors.md).")
def fit(
    references: tuple[Path, ...],
    out: Path,
    person: Person,
    drop_outliers: bool,
    body: str,
    pose: Mode,
    solver: str,
    calibration: Path | None,
    focal_length_px: float | None,
    schema: str | None,
    reading: Reading,
    detector: DetectorName | None,
    **settings: Any,
) -> None:
    """Fit ONE body shape to the keypoints of all REFERENCES.

    REFERENCES are keypoint files of MMPose, COCO and others (docs/keypoint-files.md), or folders of them. With
    --detector they are photographs, or folders of them.
    """
    from adapters.bodies.find import find_body
    from adapters.jobs.fit import FitSettings, fit_references
    from adapters.jobs.outline_use import check_clothes, unused_clothes, unused_outlines
    from adapters.jobs.prepared import free_solver
    from engine.evidence.calibration_file import load_calibration

    if not out.parent.is_dir():
        raise ValueError(f"cannot write {out}: there is no folder {out.parent}; make it first")
    keep_inputs(out, (*references, body, calibration))
    fits = focal_length_px is not None
    enable_told_cache("fit" if pose == "free" else "fit in rest pose", solver, fits)
    model, clothes = find_body(body), reading.options.clothes
    check_clothes(clothes, model, pose, free_solver(model, solver, focal_length_px) if pose == "free" else solver)
    detected = photograph_table(references, detector, settings)
    table = read_references(references, schema, reading, person, detected)
    chosen = None if calibration is None else load_calibration(calibration)
    fitting = FitSettings(person, pose, solver, chosen, focal_length_px, drop_outliers)
    shape = fit_references(table, model, fitting)
    shape.save(out)
    say(
        f"{_used(table, shape)}, {shape.body_name}, {shape.schema}, pose {pose}",
        *failed_lines(_unused(table, shape)),
        "betas " + " ".join(f"{beta:+.2f}" for beta in shape.betas),
        *_odd_ones(shape),
        *unused_outlines(table.outlined, model, pose, shape.solver),
        *unused_clothes(clothes, table.outlined),
        *([] if shape.converged else ["warning: the fit did not converge; look at the references"]),
        f"{out}",
    )


def _used(table: KeypointTable, shape: Shape) -> str:
    """``8 of 11 references used``, counted in pictures."""
    used = sum(one.used for one in shape.references)
    return f"{used} of {used + sum(map(len, _unused(table, shape).values()))} references used"


def _unused(table: KeypointTable, shape: Shape) -> dict[str, list[str]]:
    """Names of the reference pictures that were not used, by reason."""
    unused: dict[str, list[str]] = {}
    for one in shape.references:
        if not one.used:
            unused.setdefault("dropped" if one.dropped else one.status, []).append(one.image)
    chosen = {one.image for one in shape.references}
    # A picture without a usable person has no reference; its first row has the reason.
    first = dict(zip(reversed(table.image.to_pylist()), reversed(table.status.tolist()), strict=True))
    for image, status in sorted(first.items()):
        if image not in chosen:
            unused.setdefault(LABELS[status], []).append(image)
    return unused


def _odd_ones(shape: Shape) -> list[str]:
    return [
        f"{one.image} does not look like the others (log Bayes factor {one.log_bayes_factor:+.1f}); "
        + ("left out" if one.dropped else "look at it, or leave it out with --drop-outliers")
        for one in shape.references
        if one.outlier
    ]
