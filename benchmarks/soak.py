"""What kills, signals, a full disk and a single core do to the command line.

    python -m benchmarks.soak kill --times 100         SIGKILL at a random moment, then --resume: the same bytes?
    python -m benchmarks.soak interrupt --times 40     SIGINT or SIGTERM: status, seconds, what is left, tracebacks
    python -m benchmarks.soak disk                     files that cannot grow: one line, nothing left, old output kept
    python -m benchmarks.soak report --times 100       on one core: how often the process ends in any other way than 0

Faults are printed as they come; the last line sums up. Exit status 1 if there were any. What load does to the server is
measured by ``benchmarks.http_load``, what damaged files do by ``tests.fuzz.run``.
"""

import argparse
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adapters.keypoints.readers import open_keypoints, read_keypoints
from adapters.keypoints.table import concat_tables
from adapters.keypoints.writers import write_keypoints

DEMO = Path(__file__).parents[1] / "adapters" / "jobs" / "demo_data"
SAMEBODY = (sys.executable, "-m", "samebody")
_COPIES = 100
"""Of the demo's pictures: enough for a run of some parts."""
_PER_PART = 1000
_LATEST_S = 2.0


def main() -> int:
    """Run one of the trials; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("trial", choices=["kill", "interrupt", "disk", "report"])
    options.add_argument("--times", type=int, default=20)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    trial: dict[str, Callable[[Path, int, random.Random], list[str]]] = {
        "kill": kill,
        "interrupt": interrupt,
        "disk": disk,
        "report": report,
    }
    # Shells start background jobs with SIGINT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as name:
        faults = trial[given.trial](Path(name), given.times, random.Random(given.seed))
    print(f"{given.trial}: {len(faults)} faults")
    return 1 if faults else 0


def kill(folder: Path, times: int, draw: random.Random) -> list[str]:
    """Scores in rest pose, killed again and again; the output must be that of an undisturbed run."""
    few = read_keypoints([DEMO / "dataset.parquet"])
    names = few.image.to_pylist()
    copies = [replace(few, image=pa.array([f"{copy}/{name}" for name in names])) for copy in range(_COPIES)]
    write_keypoints(folder / "many.parquet", concat_tables(few.schema, copies))
    _run("fit", DEMO / "references.parquet", "--pose", "rest", "--out", folder / "shape.npz")
    # Children begin with everything imported; nothing has been computed yet that a fork could break.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "adapters.jobs.score", "adapters.bodies.find"])

    def score(out: Path, kill_after_s: float | None) -> bool:
        """Score in a process of its own; whether it was killed before it ended."""
        process = context.Process(target=score_some, args=(str(folder), str(out)))
        process.start()
        process.join(kill_after_s)
        killed = process.is_alive()
        process.kill()
        process.join()
        return killed

    score(folder / "first.parquet", None)  # after it, everything is compiled
    start = time.monotonic()
    score(folder / "whole.parquet", None)
    seconds = time.monotonic() - start  # of a run, measured again whenever one is not killed: machines have other work
    whole, faults, kills, runs, parts = (folder / "whole.parquet").read_bytes(), [], 0, 0, 0
    while kills < times:
        out, runs = folder / f"killed{runs}.parquet", runs + 1
        while not out.exists():
            start = time.monotonic()
            if score(out, draw.uniform(0, seconds) if kills < times else None):
                kills += 1
            else:
                seconds = time.monotonic() - start
            parts += len(list(folder.glob(f"{out.name}.parts/part-*")))
        if out.read_bytes() != whole:
            faults.append(_say(f"after {kills} kills the bytes differ"))
        left = [path.name for path in folder.iterdir() if path.name.startswith(out.name + ".") or ".part" in path.name]
        if left:
            faults.append(_say(f"left over: {left}"))
    print(f"{kills} kills in {runs} runs; {parts} parts were there to go on with")
    return faults


def interrupt(folder: Path, times: int, draw: random.Random) -> list[str]:
    """Commands that are interrupted at random moments."""
    _run("fit", DEMO / "references.parquet", "--pose", "rest", "--out", folder / "rest.npz")
    references, dataset, rest = DEMO / "references.parquet", DEMO / "dataset.parquet", folder / "rest.npz"
    _run("score", dataset, "--shape", rest, "--out", folder / "scores.parquet")
    (folder / "marks.csv").write_text("image,instance,mark\na.jpg,0,drop\n")
    (folder / "pictures").mkdir()
    faults: list[str] = []
    slowest, done, begun = 0.0, 0, 0
    while done < times:
        place = Path(tempfile.mkdtemp(dir=folder))
        commands = [
            ["fit", references, "--out", place / "s.npz"],
            ["fit", references, "--pose", "rest", "--out", place / "s.npz"],
            ["score", dataset, "--shape", rest, "--out", place / "o.parquet"],
            ["report", folder / "scores.parquet", "--out", place / "page.html"],
            ["plot", folder / "scores.parquet", "--out", place / "plot.png"],
            ["cluster", dataset, "--out", place / "c.csv"],
            ["calibrate", dataset, "--out", place / "c.json"],
            ["check", references, dataset, "--out", place / "checked"],
            ["apply", folder / "marks.csv", "--pictures", folder / "pictures", "--copy-to", place / "kept", "--yes"],
            ["train-evidence", "--out", place / "network.npz"],
            ["serve", "--database", place / "served.db", "--port", str(20000 + done)],
            ["demo", "--out", place / "demo"],
            ["doctor"],
        ]
        command, number = commands[begun % len(commands)], draw.choice([signal.SIGINT, signal.SIGTERM])
        begun += 1
        process = subprocess.Popen([*SAMEBODY, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            process.communicate(timeout=draw.uniform(0.6, 12))
            continue
        except subprocess.TimeoutExpired:
            start = time.monotonic()
            process.send_signal(number)
        said = process.communicate()[1].decode(errors="replace")
        took, done = time.monotonic() - start, done + 1
        slowest = max(slowest, took)
        broken = [path.name for path in place.rglob("*") if path.is_file() and not _is_whole(path)]
        # Shells call both 128 + number; the latter is a signal in the last moments of the interpreter.
        ended_so = process.returncode in (128 + number, -number)
        if not ended_so or took > _LATEST_S or broken or "Traceback" in said:
            faults.append(
                _say(f"{command[0]} {number.name}: {process.returncode} after {took:.2f} s, {broken} {said[-200:]}")
            )
    print(f"{done} interrupts of {begun} commands begun, the slowest end after {slowest:.2f} s")
    return faults


def _is_whole(path: Path) -> bool:
    if path.name.endswith(".part"):
        return False
    try:
        if path.suffix == ".parquet":
            pq.read_table(path)
        elif path.suffix == ".npz":
            np.load(path).close()
    except (ValueError, OSError):
        return False
    return True


def disk(folder: Path, times: int, draw: random.Random) -> list[str]:
    """Outputs that may not grow beyond a few hundred bytes, as on a full disk."""
    faults = []
    _run("fit", DEMO / "references.parquet", "--pose", "rest", "--out", folder / "rest.npz")
    for suffix in ("npz", "parquet", "csv", "jsonl"):
        out = folder / f"out.{suffix}"
        out.write_bytes(b"old")
        command = ["score", DEMO / "dataset.parquet", "--shape", folder / "rest.npz", "--out", out]
        if suffix == "npz":
            command = ["fit", DEMO / "references.parquet", "--pose", "rest", "--out", out]

        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

        environment = {**os.environ, "SAMEBODY_CACHE": "", "JAX_ENABLE_COMPILATION_CACHE": "false"}
        done = subprocess.run(
            [*SAMEBODY, *map(str, command)], capture_output=True, text=True, preexec_fn=limit, env=environment
        )
        left = sorted(path.name for path in folder.iterdir() if path.name not in ("rest.npz", out.name))
        if done.returncode != 2 or left or out.read_bytes() != b"old" or "Traceback" in done.stderr:
            faults.append(_say(f"{suffix}: {done.returncode}, left {left}, {done.stderr[-300:]}"))
        out.unlink()
    return faults


def report(folder: Path, times: int, draw: random.Random) -> list[str]:
    """Pages made on one core, where threads end late."""
    _run("fit", DEMO / "references.parquet", "--pose", "rest", "--out", folder / "rest.npz")
    _run("score", DEMO / "dataset.parquet", "--shape", folder / "rest.npz", "--out", folder / "s.parquet")
    command = [*SAMEBODY, "report", str(folder / "s.parquet"), "--out", str(folder / "page.html")]
    faults = []
    for number in range(times):
        done = subprocess.run(["taskset", "-c", "0", *command], capture_output=True, text=True)
        if done.returncode:
            faults.append(_say(f"run {number}: {done.returncode} {done.stderr[-200:]}"))
    return faults


def _run(*command: object) -> None:
    subprocess.run([*SAMEBODY, *map(str, command)], check=True, capture_output=True)


def score_some(folder: str, out: str) -> None:
    """What is killed: scores in rest pose, resumed where there is something to resume."""
    from adapters.bodies.find import find_body
    from adapters.jobs.score import RunSettings, score_to_file
    from engine.shape import Shape

    run = RunSettings(resume=True, pictures_per_part=_PER_PART)
    source = open_keypoints([f"{folder}/many.parquet"], chunk_size=512)
    score_to_file(source, find_body("anny24"), Shape.load(f"{folder}/shape.npz"), out, run=run)


def _say(fault: str) -> str:
    print(fault, flush=True)
    return fault


if __name__ == "__main__":
    sys.exit(main())
