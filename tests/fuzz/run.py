"""Bad files by hand, as long as wanted: python -m tests.fuzz.run --seconds 600 --seed 1

Each kind is read in processes of its own, so that one that ends or waits is noticed and does not end the run. Prints
faults as they are found, and at the end how many files were read, the slowest and the most memory. Exit status 1 if
there were faults.
"""

import argparse
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

from adapters.jobs.compile_cache import enable_compile_cache
from tests.fuzz.files import Kind, kinds

LONGEST_S = 5
LARGEST_MIB = 1024
_FILES_PER_PROCESS = 100


def main() -> int:
    """Run until the time is over; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--keep", type=Path, default=None, help="folder for files that show a fault")
    given = options.parse_args()
    enable_compile_cache()
    end, faults, files, round_number = time.monotonic() + given.seconds, 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        every = kinds(folder)
        while time.monotonic() < end:
            for number, kind in enumerate(every):
                seed = [given.seed, round_number, number]
                found = _in_a_process(kind, seed, folder)
                files += _FILES_PER_PROCESS
                for what, content in found:
                    faults += 1
                    print(f"{kind.name}: {what}", flush=True)
                    if given.keep is not None:
                        given.keep.mkdir(exist_ok=True)
                        (given.keep / f"{faults:04d}_{kind.name}").write_bytes(content)
            round_number += 1
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    print(f"{files:,} files of {len(every)} kinds, {faults} faults; the largest process took {largest} MiB")
    return 1 if faults else 0


def _in_a_process(kind: Kind, seed: list[int], folder: Path) -> list[tuple[str, bytes]]:
    """Faults of some bad files, with the files. A process that ends is a fault; the next goes on behind it."""
    faults: list[tuple[str, bytes]] = []
    path, log = folder / f"bad_{kind.name}", folder / "log"
    start = 0
    while start < _FILES_PER_PROCESS:
        log.write_text("")
        child = os.fork()
        if not child:
            _read_all(kind, seed, start, path, log)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        lines = log.read_text(errors="replace").splitlines()
        done = [line for line in lines if line.startswith("begun ")]
        found = [line for line in lines if line.startswith("fault ")]
        faults += [(line, _kept(path, int(line.split()[1])).read_bytes()) for line in found]
        if status == 0:
            break
        last = int(done[-1].split()[1]) if done else start
        faults.append((f"file {last} ended the process ({os.waitstatus_to_exitcode(status)})", path.read_bytes()))
        start = last + 1
    return faults


def _kept(path: Path, number: int) -> Path:
    return path.with_name(f"{number}_{path.name}")


def _read_all(kind: Kind, seed: list[int], start: int, path: Path, log: Path) -> None:
    with log.open("a") as stream, open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
        kind.compile()
        for number in range(start, _FILES_PER_PROCESS):
            stream.write(f"begun {number}\n")
            stream.flush()
            signal.alarm(LONGEST_S)
            fault = _read(kind, [*seed, number], path)
            signal.alarm(0)
            too_large = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10 > LARGEST_MIB
            if fault or too_large:
                shutil.copy(path, _kept(path, number))
                stream.write(f"fault {number} {fault or 'memory'}\n")
            if too_large:
                return


def _read(kind: Kind, seed: list[int], path: Path) -> str:
    """Make a bad file and read it; what went wrong beyond ValueError."""
    try:
        kind.write(path, np.random.default_rng(seed))
        kind.read(path)
    except ValueError:
        pass
    except BaseException:
        return repr(traceback.format_exc()[-400:])
    return ""


if __name__ == "__main__":
    sys.exit(main())
