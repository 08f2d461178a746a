"""Markers of all groups at one moment, for an image of the whole cluster that is one cut.

The groups have no order in common, so each leader first *holds* its proposals: it logs no commands. When all
of them hold, each logs a marker, and goes on. Everything before the markers was logged before that moment,
everything after them after it, on whatever node. No clock matters. Whatever was acknowledged before something
else was asked for, and every step of a transaction that another step rests on, comes before it in the cut as
well.

A hold ends by itself after a while, so that writers never wait for a leader or a link that is lost. A marker
is logged only under the hold that was asked for, in the same term; else all of it is tried again, with longer
holds: a link may be slow.
"""

from collections.abc import Callable

from kraft.host.admin.cluster_command import Ask, GroupRound, Outcomes, refusal
from kraft.node.admin import AdminDone, HoldProposals, LogHeldMarker
from kraft.node.errors import AdminRefused

HOLD_MS = 50  # some round trips in one place
HOLD_MS_MAX = 800  # after four tries: nodes that are 200 ms apart
NOT_HELD = "nothing was marked: the hold was over"


class HeldMarkers:
    """Asks all `groups` with `ask`. `new_token` gives a number that no hold has had."""

    def __init__(self, groups: int, ask: Ask, new_token: Callable[[], int], done: AdminDone) -> None:
        """`done` gets a list with [index, term] of each group's marker, or an exception."""
        self._groups = range(groups)
        self._ask = ask
        self._new_token = new_token
        self._done = done
        self._milliseconds = HOLD_MS
        self._token = 0

    def log(self) -> None:
        """Let all groups hold, and then log their markers."""
        self._token = self._new_token()
        GroupRound(self._ask, self._groups, HoldProposals(self._token, self._milliseconds), self._held)

    def _held(self, outcomes: Outcomes) -> None:
        failure = _failure(outcomes)
        if failure is not None:
            self._done(failure)
        else:
            GroupRound(self._ask, self._groups, LogHeldMarker(self._token), self._marked)

    def _marked(self, outcomes: Outcomes) -> None:
        failure = _failure(outcomes)
        if failure is None:
            self._done(list(outcomes.values()))
        elif self._milliseconds < HOLD_MS_MAX:
            self._milliseconds *= 2
            self.log()
        else:
            self._done(failure)


def _failure(outcomes: Outcomes) -> Exception | None:
    failed = {group: each for group, each in outcomes.items() if isinstance(each, Exception)}
    if not failed:
        return None
    reasons = {group: str(each) or type(each).__name__ for group, each in failed.items()}
    return AdminRefused(f"no image of one moment could be made, repeat it: {refusal(reasons, len(outcomes))}")
