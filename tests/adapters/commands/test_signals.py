"""Signals end a command soon, with one line and the status that a shell expects, wherever they arrive."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import ROOT


@pytest.fixture(autouse=True)
def _signals_as_in_a_terminal() -> Iterator[None]:
    """A shell starts background jobs with SIGINT ignored, and their children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


PREAMBLE = """
    import ctypes, gc, os, signal, sys, threading, time
    from adapters.commands.signals import interruptible

    def signalled(after_s=0.2, number=signal.{signal}):
        threading.Thread(target=lambda: (time.sleep(after_s), os.kill(os.getpid(), number)), daemon=True).start()
"""

ENDS = {
    "between two instructions": """
        with interruptible() as received:
            try:
                signalled()
                while True:
                    time.sleep(0.01)
            except KeyboardInterrupt:
                sys.exit(received.status)
    """,
    "lost in a callback of the garbage collector": """
        def callback(phase, info):
            if phase == "start":
                until = time.monotonic() + 0.3
                while time.monotonic() < until:
                    pass

        with interruptible() as received:
            gc.callbacks.append(callback)
            try:
                signalled(0.1)
                gc.collect()
                while True:
                    time.sleep(0.01)
            except KeyboardInterrupt:
                sys.exit(received.status)
    """,
    "lost in a callback while modules are imported": """
        import weakref
        from adapters.commands.signals import end_at_signals

        class Module:
            pass

        def callback(_):
            os.kill(os.getpid(), signal.{signal})
            time.sleep(0.1)

        end_at_signals()
        module = Module()
        reference = weakref.ref(module, callback)
        del module
        print("goes on")
    """,
    "when the work is done": """
        from adapters.commands.signals import end_at_signals

        end_at_signals()
        with interruptible():
            pass
        os.kill(os.getpid(), signal.{signal})
        time.sleep(0.1)
    """,
    "while the main thread executes no Python": """
        with interruptible(lambda: os.write(1, b"cleaned up")):
            signalled()
            # A lock that is taken twice waits for ever, and goes on waiting after a signal.
            mutex = ctypes.create_string_buffer(128)
            for _ in range(2):
                ctypes.CDLL(None).pthread_mutex_lock(mutex)
    """,
    "again while it cleans up": """
        with interruptible() as received:
            try:
                signalled()
                while True:
                    time.sleep(0.01)
            except KeyboardInterrupt:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.3)
                sys.exit(received.status)
    """,
}


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("case", ENDS)
def test_a_signal_ends_the_process(case: str, name: str, status: int) -> None:
    program = textwrap.dedent(PREAMBLE.format(signal=name)) + textwrap.dedent(ENDS[case].replace("{signal}", name))
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("delay_s", [3.0, 6.0])
def test_a_command_that_is_interrupted_says_so_in_one_line(
    tmp_path: Path, number: signal.Signals, status: int, delay_s: float
) -> None:
    command = [sys.executable, "-m", "samebody", "demo", "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            process.wait(delay_s)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert said.splitlines()[-1].startswith("samebody: interrupted")
    assert "Traceback" not in said
    assert not list(tmp_path.rglob(".*.part"))
