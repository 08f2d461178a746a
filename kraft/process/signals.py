"""Signals that kraft handles itself. twistd handles SIGINT and SIGTERM: it stops the reactor."""

import signal
from collections.abc import Callable
from typing import Any


def on_signal(number: signal.Signals, reactor: Any, handler: Callable[[], object]) -> None:
    """Call `handler` in the reactor, between two events, whenever the process receives the signal."""

    def receive(_number: int, _frame: object) -> None:
        reactor.callFromThread(handler)

    signal.signal(number, receive)
