"""One figure, and how a run of figures is shown, stored and compared with the committed baseline."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import jax
from rich.console import Console
from rich.table import Table

Direction = Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class Metric:
    """A measured figure."""

    key: str
    """Stays the same across versions: ``rest_scoring/closed_form/pictures_per_s``."""
    value: float
    unit: str
    direction: Direction = "none"
    """Which way is better; ``none`` is a fact, not a merit."""
    tolerance: float = 0.5
    """Relative change for the worse that counts as a regression. Wide: the machines are noisy."""
    note: str = ""


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that an action took, and what it returned."""
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def side_by_side(actions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each action in each round. The actions take turns, so that drift of the machine hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            seconds[name].append(timed(action)[0])
    return seconds


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def hardware() -> dict[str, str | int]:
    """What the figures were measured on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": cores,
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


def print_metrics(metrics: Sequence[Metric], baseline: dict[str, float]) -> None:
    """A table of all figures, with the committed baseline where there is one."""
    table = Table(header_style="bold")
    for column in ("figure", "value", "unit", "baseline", "note"):
        table.add_column(column, justify="right" if column in ("value", "baseline") else "left")
    for metric in metrics:
        before = baseline.get(metric.key)
        table.add_row(
            metric.key, f"{metric.value:,.4g}", metric.unit, "" if before is None else f"{before:,.4g}", metric.note
        )
    Console(width=150).print(table)


def regressions(metrics: Sequence[Metric], baseline: dict[str, float]) -> list[str]:
    """Figures that are worse than the baseline by more than their tolerance."""
    worse = []
    for metric in metrics:
        before = baseline.get(metric.key)
        if before is None or metric.direction == "none":
            continue
        change = (metric.value - before) / max(abs(before), 1e-12)
        if (change if metric.direction == "lower" else -change) > metric.tolerance:
            worse.append(f"{metric.key}: {before:,.4g} -> {metric.value:,.4g} {metric.unit}")
    return worse


def write_metrics(path: Path, metrics: Sequence[Metric]) -> None:
    content = {"hardware": hardware(), "metrics": [asdict(metric) for metric in metrics]}
    path.write_text(json.dumps(content, indent=1) + "\n")


def read_baseline(path: Path) -> dict[str, float]:
    if not path.exists():
        return {}
    return {metric["key"]: metric["value"] for metric in json.loads(path.read_text())["metrics"]}
