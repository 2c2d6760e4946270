"""Damaged files by hand, as long as wanted: python -m tests.fuzz.run --seconds 600 --seed 1

Each kind is read in processes of its own, so that one that ends or waits is noticed and does not end the run. Prints
faults as they are found, and at the end how many files were read, the slowest and the most memory. Exit status 1 if
there were faults.
"""

import argparse
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

from tests.fuzz.files import Kind, damaged, kinds

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
    """Faults of some damaged files, with the files. A process that ends is a fault; the next goes on behind it."""
    faults: list[tuple[str, bytes]] = []
    start = 0
    while start < _FILES_PER_PROCESS:
        log = folder / "log"
        log.write_text("")
        child = os.fork()
        if not child:
            _read_all(kind, seed, start, folder, log)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        lines = log.read_text(errors="replace").splitlines()
        done = [line for line in lines if line.startswith("begun ")]
        faults += [(line, _file(kind, seed, int(line.split()[1]))) for line in lines if line.startswith("fault ")]
        if status == 0:
            break
        last = int(done[-1].split()[1]) if done else start
        faults.append((f"file {last} ended the process ({os.waitstatus_to_exitcode(status)})", _file(kind, seed, last)))
        start = last + 1
    return faults


def _read_all(kind: Kind, seed: list[int], start: int, folder: Path, log: Path) -> None:
    path = folder / f"damaged_{kind.name}"
    with log.open("a") as stream, open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
        for number in range(start, _FILES_PER_PROCESS):
            path.write_bytes(_file(kind, seed, number))
            stream.write(f"begun {number}\n")
            stream.flush()
            signal.alarm(LONGEST_S)
            try:
                kind.read(path)
            except ValueError:
                pass
            except BaseException:
                stream.write(f"fault {number} {traceback.format_exc()[-400:]!r}\n")
            signal.alarm(0)
            if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10 > LARGEST_MIB:
                stream.write(f"fault {number} memory\n")
                return


def _file(kind: Kind, seed: list[int], number: int) -> bytes:
    return damaged(kind.content, np.random.default_rng([*seed, number]))


if __name__ == "__main__":
    sys.exit(main())
