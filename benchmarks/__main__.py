"""``python -m benchmarks [WORKLOAD ...] [--quick]``: measure, print a table, write JSON."""

from pathlib import Path

import click

from benchmarks import identity, rest_pose, volume
from benchmarks.metrics import hardware, print_metrics, read_baseline, regressions, write_metrics

QUICK_TO_RUN = rest_pose.WORKLOADS
WORKLOADS = {**QUICK_TO_RUN, **identity.WORKLOADS, **volume.WORKLOADS}
"""All that have a name; those that take minutes run only when they are asked for."""
BASELINE = Path(__file__).parent / "baseline.json"


@click.command()
@click.argument("workloads", nargs=-1, type=click.Choice(list(WORKLOADS)))
@click.option("--quick", is_flag=True, help="Small sizes; shows that everything runs, gates nothing.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the figures as JSON.")
@click.option("--gate", is_flag=True, help="Exit with 1 if a figure is worse than the baseline by its tolerance.")
def main(workloads: tuple[str, ...], quick: bool, out: Path | None, gate: bool) -> None:
    """Measure samebody beside what a user would otherwise use; the WORKLOADS that are quick by default."""
    if quick and gate:
        raise click.UsageError("--quick figures are too noisy for --gate")
    click.echo(", ".join(f"{key}: {value}" for key, value in hardware().items()))
    metrics = [metric for name in workloads or QUICK_TO_RUN for metric in WORKLOADS[name](quick)]
    baseline = read_baseline(BASELINE)
    print_metrics(metrics, baseline)
    if out is not None:
        write_metrics(out, metrics)
    worse = regressions(metrics, baseline) if gate else []
    for line in worse:
        click.echo(f"worse than the baseline: {line}", err=True)
    raise SystemExit(1 if worse else 0)


if __name__ == "__main__":
    main()
