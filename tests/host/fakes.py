"""A clock that tests turn by hand."""

from collections.abc import Callable


class Call:
    def __init__(self, at: float, order: int, run: Callable[[], object]) -> None:
        self.at, self.order, self.run, self.cancelled = at, order, run, False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """`host.ports.Clock`: time passes only in `advance`."""

    def __init__(self, wall_ms: int = 1_700_000_000_000) -> None:
        self.now = 0.0
        self.wall = float(wall_ms)
        self._calls: list[Call] = []
        self._order = 0

    def seconds(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return int(self.wall)

    def call_later(self, delay: float, call: Callable[[], object]) -> Call:
        self._order += 1
        pending = Call(self.now + delay, self._order, call)
        self._calls.append(pending)
        return pending

    def call_soon(self, call: Callable[[], object]) -> None:
        self.call_later(0, call)

    def advance(self, seconds: float = 0.0) -> None:
        end = self.now + seconds
        while due := [c for c in self._calls if c.at <= end and not c.cancelled]:
            call = min(due, key=lambda c: (c.at, c.order))
            self._calls.remove(call)
            self._move(max(self.now, call.at))
            call.run()
        self._move(end)

    def _move(self, to: float) -> None:
        self.wall += (to - self.now) * 1000.0
        self.now = to
