"""Ctrl-C and SIGTERM end a command within two seconds at any time, with one line and without half-written files.

    with interruptible() as received:
        ...                       either signal raises KeyboardInterrupt
    sys.exit(received.status)     130 or 143

Python raises KeyboardInterrupt in the main thread between two instructions. This is not enough in three cases:
- An exception inside a callback of the garbage collector (JAX has one) is printed and lost. A hook notices this and
  interrupts the main thread again a moment later; an immediate interrupt would be lost in the same callback.
- An exception during the import of a C++ module may abort the process with the trace of a crash. Only files that are
  being written need cleaning up then, so the process ends at once.
- While XLA compiles, the main thread executes no Python for up to a minute. The operating system's handler writes to a
  pipe (``signal.set_wakeup_fd``). A thread waits for it, and ends the process if the main thread has not done so after
  the grace period. Files are written to temporary files and renamed, so only the temporary files are removed.
"""

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

GRACE_S = 0.7
_RETRY_S = 0.02
MESSAGE = "samebody: interrupted"


@dataclass
class Received:
    """The signal that ended the command."""

    number: int = 0
    """Number of the signal; 0 before a signal."""
    lost: bool = False
    """True if the exception was lost; the next signal raises it again."""

    @property
    def status(self) -> int:
        """Exit status by a shell's convention for a process that this signal has ended."""
        return 128 + (self.number or signal.SIGINT)


@contextmanager
def interruptible(on_deadline: Callable[[], None] = lambda: None) -> Iterator[Received]:
    """Turn both signals into one KeyboardInterrupt, and end the process if that does not end the block.

    Args:
        on_deadline: called before the process is ended by force.
    """
    received = Received()
    if threading.current_thread() is not threading.main_thread():
        yield received  # the thread of another program, which handles its signals itself
        return

    def raise_once(number: int, frame: FrameType | None) -> None:
        # A second Ctrl-C must not interrupt the cleaning up after the first one.
        if received.number and not received.lost:
            return
        received.number, received.lost = received.number or number, False
        if _is_importing(frame):
            _end(received.number, on_deadline)
        raise KeyboardInterrupt

    def ask_again(failure: "sys.UnraisableHookArgs") -> None:
        if not issubclass(failure.exc_type, KeyboardInterrupt):
            earlier_hook(failure)
            return
        received.lost = True
        timer = threading.Timer(_RETRY_S, _thread.interrupt_main)
        timer.daemon = True
        timer.start()

    earlier_hook = sys.unraisablehook
    ours = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    earlier = {number: signal.signal(number, raise_once) for number in ours}
    earlier_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    done = threading.Event()
    threading.Thread(target=_watch, args=(reader, done, on_deadline), daemon=True).start()
    sys.unraisablehook = ask_again
    try:
        yield received
    finally:
        done.set()
        sys.unraisablehook = earlier_hook
        signal.set_wakeup_fd(earlier_fd)
        for number, handler in earlier.items():
            signal.signal(number, handler)
        os.close(writer)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _watch(reader: int, done: threading.Event, on_deadline: Callable[[], None]) -> None:
    """Wait for a signal, then for the end of the block; end the process if the block does not end."""
    try:
        while number := os.read(reader, 1):
            # Other signals (end of a child process, change of the window's size) write here too.
            if number[0] in (signal.SIGINT, signal.SIGTERM):
                if not done.wait(GRACE_S):
                    _end(number[0], on_deadline)
                return
    finally:
        os.close(reader)


def _end(number: int, on_deadline: Callable[[], None]) -> None:
    try:
        on_deadline()
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{MESSAGE}\n".encode())
    finally:
        os._exit(128 + number)


def end_at_signals() -> None:
    """Let either signal end the process at once, with one line, outside of ``interruptible``: during imports and exit.

    Nothing needs cleaning up then, and a KeyboardInterrupt would be lost in the callbacks that imports run.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # the thread of another program, which handles its signals itself
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda received, _: _end(received, lambda: None))
