"""Time for a node: the timers of the reactor on a steady clock, and the machine's wall clock."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

# CLOCK_BOOTTIME, which only Linux has, goes on while the machine is suspended.
_STEADY_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

steady_seconds: Callable[[], float] = partial(time.clock_gettime, _STEADY_CLOCK)
"""Seconds since an arbitrary start. Never set back; counts time in which the machine is suspended.

Every request asks several times, so this is a C function without a Python function around it.
"""


class ReactorClock:
    """`kraft.node.ports.Clock` on a reactor.

    Twisted's timers follow the wall clock by default: setting it back by an hour would stop them for an hour.
    `kraft.tap` therefore gives the reactor `steady_seconds` before anything is scheduled.
    """

    def __init__(self, reactor: Any) -> None:
        self.call_later = reactor.callLater
        self.call_soon = getattr(reactor, "call_soon", None) or partial(reactor.callLater, 0)
        self.seconds = steady_seconds

    def wall_ms(self) -> int:
        """Unix time in milliseconds."""
        return time.time_ns() // 1_000_000
