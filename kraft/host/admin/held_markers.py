"""Markers of all groups at one moment, for an image of the whole cluster that is one cut.

The groups have no order in common, so each leader first *holds* its proposals: it logs no commands. When all
of them hold, each logs a marker, and goes on. Everything before the markers was logged before that moment,
everything after them after it, on whatever node. No clock matters. Whatever was acknowledged before something
else was asked for, and every step of a transaction that another step rests on, comes before it in the cut as
well.

A hold ends by itself after a while, so that writers never wait for a leader or a link that is lost. A marker
is logged only under the hold that was asked for, in the same term; else all of it is tried again, with longer
holds: a link may be slow, or the groups may be many. If the answers took so long that the first hold may be
over before the last marker is logged, no marker is asked for: each makes all replicas of its group write a
checkpoint, and those of a thousand groups would still be written when the next markers come.
"""

from collections.abc import Callable

from kraft.host.admin.cluster_command import Ask, GroupRound, Outcomes, refusal
from kraft.node.admin import AdminDone, HoldProposals, LogHeldMarker
from kraft.node.errors import AdminRefused
from kraft.node.ports import Clock

HOLD_MS = 50  # some round trips in one place
GROUPS_PER_MS = 5  # that are asked in two rounds: 1,024 took 220 ms on two busy cores
HOLD_MS_MAX = 800  # nodes that are 200 ms apart
ROUNDS = 2  # that a hold has to last: it is asked for in the first one, and the marker in the second
NOT_HELD = "nothing was marked: the hold was over"


class HeldMarkers:
    """Asks all `groups` with `ask`. `new_token` gives a number that no hold has had."""

    def __init__(
        self, groups: int, ask: Ask, new_token: Callable[[], int], clock: Clock, done: AdminDone
    ) -> None:
        """`done` gets a list with [index, term] of each group's marker, or an exception."""
        self._groups = range(groups)
        self._ask = ask
        self._new_token = new_token
        self._clock = clock
        self._done = done
        self._milliseconds = HOLD_MS + groups // GROUPS_PER_MS
        self._token = 0
        self._asked_at = 0.0  # monotonic seconds: no hold of this token began before

    def log(self) -> None:
        """Let all groups hold, and then log their markers."""
        self._token = self._new_token()
        self._asked_at = self._clock.seconds()
        GroupRound(self._ask, self._groups, HoldProposals(self._token, self._milliseconds), self._held)

    def _held(self, outcomes: Outcomes) -> None:
        failure = _failure(outcomes)
        needed = ROUNDS * 1000 * (self._clock.seconds() - self._asked_at)
        if failure is not None:
            self._done(failure)
        elif self._milliseconds < min(needed, HOLD_MS_MAX):
            self._again(needed)
        else:
            GroupRound(self._ask, self._groups, LogHeldMarker(self._token), self._marked)

    def _marked(self, outcomes: Outcomes) -> None:
        failure = _failure(outcomes)
        if failure is None:
            self._done(list(outcomes.values()))
        elif self._milliseconds < HOLD_MS_MAX:
            self._again(0)
        else:
            self._done(failure)

    def _again(self, needed: float) -> None:
        """Try it with holds of twice the time, or twice what the last one `needed` (ms)."""
        self._milliseconds = min(HOLD_MS_MAX, 2 * max(self._milliseconds, round(needed)))
        self.log()


def _failure(outcomes: Outcomes) -> AdminRefused | None:
    failed = {group: each for group, each in outcomes.items() if isinstance(each, Exception)}
    if not failed:
        return None
    reasons = {group: str(each) or type(each).__name__ for group, each in failed.items()}
    return AdminRefused(f"no image of one moment could be made, repeat it: {refusal(reasons, len(outcomes))}")
