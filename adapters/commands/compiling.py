"""Prints ``compiling, once, about 60 s`` while a command waits for the compiler.

JAX reports when it asks its cache on disk for a program and when it has found it there. It reports nothing until a
compilation ends, so a timer prints the line when a program has not come after a second. The processor time of all
programs of a command is recorded beside the compiled code and gives the next estimate. The first estimate is a measured
constant (benchmarks/results.md, "From a folder to a decision"). If more processes want to run than there are cores, the
estimate is multiplied accordingly.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import IO

import click

_USUAL_S = 60.0
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
                self._begun[thread] = time.process_time()
            timer = threading.Timer(max(_PATIENCE_S - self.seconds, 0.0), self._say, (thread, self._begun[thread]))
            timer.daemon = True
            timer.start()
        elif event in (_FOUND, _COMPILED):
            with self._lock:
                begun = self._begun.pop(thread, None)
                if begun is not None and event == _COMPILED:
                    self.seconds += time.process_time() - begun

    def expected(self) -> float:
        """Seconds that all programs of the command take."""
        known = _read(self._file).get(self._command)
        return (_USUAL_S if known is None else known) * _crowding()

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
        except OSError:
            return  # if the cache cannot be written, only the estimate is lost

    def _say(self, thread: int, begun: float) -> None:
        with self._lock:
            if self._said or self._begun.get(thread) != begun:
                return
            self._said = True
        click.echo(f"samebody: compiling, once, about {max(round(self.expected()), 1)} s", err=True)


def enable_told_cache(command: str) -> None:
    """Keep compiled code on disk (``adapters.jobs.compile_cache``), and print a line while waiting for the compiler.

    Args:
        command: the running one.
    """
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


def _crowding() -> float:
    """The factor by which other processes slow a process down, from the load of the last minute."""
    from engine.batching import worker_count

    return max(os.getloadavg()[0] / worker_count(), 1.0) if hasattr(os, "getloadavg") else 1.0


def _read(file: Path) -> dict[str, float]:
    try:
        known = json.loads(file.read_bytes())
        return {str(name): float(seconds) for name, seconds in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
