"""Prints ``compiling, once, about 30 s`` while a command waits for the compiler.

JAX reports when it asks its cache on disk for a program and when it has found it there. It reports nothing until a
compilation ends, so a timer prints the line when a program has not come after a second. The processor time of all
programs of a command is recorded beside the compiled code and gives the next estimate. The first estimate is a measured
constant (benchmarks/results.md, "From a folder to a decision"). Processor time becomes time on the clock by the ratio
of both since the first program was asked for: above 1 if others use the processor, below 1 if several threads compile.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import IO

import click

_USUAL_S = 30.0
_USUAL_OF_NETWORK_S = 4.0
"""Of commands whose evidence comes from the network alone and that fit no pictures."""
WITHOUT_FITS = frozenset({"fit", "score", "calibrate", "cluster"})
"""Commands that fit pictures only if that is asked for, in free pose."""
_SLOWEST = 20.0
_PATIENCE_S = 1.0
_REQUEST = "/jax/compilation_cache/compile_requests_use_cache"
_FOUND = "/jax/compilation_cache/cache_hits"
_COMPILED = "/jax/compilation_cache/cache_misses"
_FILE = "seconds.json"


class CompileWatch:
    """Listens to JAX for one command."""

    def __init__(self, command: str, folder: Path) -> None:
        """
        Args:
            command: the command that needs the programs.
            folder: the cache of compiled code.
        """
        self._command, self._file = command, folder / _FILE
        self._begun: dict[int, float] = {}
        self._counted_to = 0.0
        self._first: tuple[float, float] | None = None
        self._lock = threading.Lock()
        self._said = self._ended = False
        self.seconds = 0.0
        """Seconds of processor time spent on programs that were not in the cache."""

    def __call__(self, event: str, **_: object) -> None:
        if self._ended:
            return
        thread = threading.get_ident()
        if event == _REQUEST:
            with self._lock:
                self._count()
                self._begun[thread] = time.process_time()
                self._first = self._first or (time.monotonic(), time.process_time())
            timer = threading.Timer(max(_PATIENCE_S - self.seconds, 0.0), self._say, (thread, self._begun[thread]))
            timer.daemon = True
            timer.start()
        elif event in (_FOUND, _COMPILED):
            with self._lock:
                if event == _COMPILED:
                    self._count()
                self._begun.pop(thread, None)

    def _count(self) -> None:
        """Add the time since the last count in which a program was compiled; of several at once it counts once."""
        now = time.process_time()
        if self._begun:
            self.seconds += now - max(self._counted_to, min(self._begun.values()))
        self._counted_to = now

    def expected(self) -> float:
        """Seconds of processor time that all programs of the command take."""
        usual = _USUAL_OF_NETWORK_S if self._command in WITHOUT_FITS else _USUAL_S
        return _read(self._file).get(self._command, usual)

    def pace(self) -> float:
        """Seconds on the clock for a second of processor time, since the first program was asked for."""
        if self._first is None:
            return 1.0
        clock, processor = time.monotonic() - self._first[0], time.process_time() - self._first[1]
        return min(clock / processor, _SLOWEST) if processor > 0 else _SLOWEST

    def end(self) -> None:
        """Record the time if anything was compiled; the longest time counts, since a cache may lack some programs."""
        from engine.body.files import replace_file

        self._ended = True
        known = _read(self._file)
        if self.seconds <= max(_PATIENCE_S, known.get(self._command, 0.0)):
            return
        content = json.dumps({**known, self._command: round(self.seconds, 1)}, sort_keys=True).encode()

        def write(stream: IO[bytes]) -> None:
            stream.write(content)

        try:
            replace_file(self._file, write)
        except (OSError, ValueError):
            return  # if the cache cannot be written, only the estimate is lost

    def _say(self, thread: int, begun: float) -> None:
        with self._lock:
            if self._said or self._begun.get(thread) != begun:
                return
            self._said = True
        click.echo(f"samebody: compiling, once, about {max(round(self.expected() * self.pace()), 1)} s", err=True)


def enable_told_cache(command: str, solver: str = "auto", fits: bool = False) -> None:
    """Keep compiled code on disk (``adapters.jobs.compile_cache``), and print a line while waiting for the compiler.

    Args:
        command: the running one.
        solver: the option of that name.
        fits: pictures are fitted, whatever the solver.
    """
    if command in WITHOUT_FITS and (fits or solver not in ("auto", "amortised")):
        command = f"{command} with fits"
    from adapters.jobs.compile_cache import cache_folder, enable_compile_cache

    enable_compile_cache()
    folder = cache_folder()
    if folder is None:
        return
    import jax.monitoring

    watch = CompileWatch(command, folder)
    jax.monitoring.register_event_listener(watch)
    context = click.get_current_context(silent=True)
    if context is not None:
        context.call_on_close(watch.end)


def _read(file: Path) -> dict[str, float]:
    try:
        known = json.loads(file.read_bytes())
        return {str(name): float(seconds) for name, seconds in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
