"""What a node does at each signal. README.md has the table for people.

twistd handles SIGINT and SIGTERM at first: it stops the reactor. A second SIGINT ends the process at once, as
in Redis, and a second SIGTERM changes nothing. Signals that would end a process by default, and that nobody
sends to stop one, are ignored from the start of a node on: a stray one must not cost a node.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

# SIGTTIN and SIGTTOU would stop a node in the background whose terminal is set to `tostop`.
_IGNORED = ("SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGSTKFLT", "SIGPIPE", "SIGTTIN", "SIGTTOU")
_LATER = ("SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")  # have a use once the node has started


def ignore_strays() -> None:
    """Ignore, from now on, what must not end the process, and what has no use yet.

    SIGINT ends it quietly until the node handles it, without Python's traceback.
    """
    for name in (*_IGNORED, *_LATER):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    for number in range(signal.SIGRTMIN, signal.SIGRTMAX + 1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def on_signal(number: signal.Signals, reactor: Any, handler: Callable[[], object]) -> None:
    """Call `handler` in the reactor, between two events, whenever the process receives the signal."""

    def receive(_number: int, _frame: object) -> None:
        reactor.callFromThread(handler)

    signal.signal(number, receive)


class StopSignals:
    """SIGINT and SIGTERM: the first stops the reactor in order, and twistd ends by the same signal."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._stopping = False
        signal.signal(signal.SIGINT, self._received)
        reactor.callLater(0, signal.signal, signal.SIGTERM, self._received)  # after twistd's own handler

    def _received(self, number: int, frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            stop = self._reactor.sigInt if number == signal.SIGINT else self._reactor.sigTerm
            stop(number, frame)
        elif number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)


def on_stack_request(log: Callable[[str], object]) -> None:
    """SIGQUIT: call `log` with the stacks of all threads.

    They are taken at once, so that they show what a blocked reactor is doing. A thread of its own logs them,
    as the one that was interrupted may be in the midst of logging.
    """

    def receive(_number: int, _frame: object) -> None:
        threading.Thread(target=log, args=(stacks(),), name="kraft-stacks", daemon=True).start()

    signal.signal(signal.SIGQUIT, receive)


def stacks() -> str:
    """The stack of every thread, the innermost call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"Thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame)).rstrip()}"
        for ident, frame in sys._current_frames().items()  # noqa: SLF001  documented, in spite of its name
    )
