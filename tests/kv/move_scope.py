"""Every history of moves of one slot, in a small scope, with the state machine of production.

`MoveScope.explore` visits every state that can be reached. A step that was sent may arrive at any time, any
number of times, or never; so may its reply. The mover may die anywhere, and may give up a move at any time;
it makes two: to the same receiver, to another one, or back. A leader whose group has a frozen slot asks the
receiver of the move. Meanwhile a client increments a key with KRAFT ONCE, in whatever group it takes for the
owner, and clocks go on; or there is a transaction with another group, in which the slot's group takes part,
or which it decides.

The states of groups are in `move_groups`, steps and leaders in `move_steps`, mover and coordinator in
`move_actors`, and how everything ends in `move_end`.
"""

import sys
from collections.abc import Iterator
from typing import Any

from kraft.kv import commands as kv
from kraft.kv.slots import SlotState
from tests.kv.group_states import NOW
from tests.kv.move_actors import Coordinator, Mover, State
from tests.kv.move_end import End
from tests.kv.move_groups import COUNT, GROUPS, RECEIVER, SOURCE, THIRD, MoveGroups, with_group
from tests.kv.move_steps import Leaders, Routes, Steps
from tests.kv.transaction_scope import visit

TOKEN = kv.Once(b"token", b"f" * 16, kv.Increment(COUNT, 1), 10**9)

ROUTES: dict[str, Routes] = {  # of both moves: from, to
    "": ((SOURCE, RECEIVER), (SOURCE, RECEIVER)),
    "another": ((SOURCE, RECEIVER), (SOURCE, THIRD)),
    "back": ((SOURCE, RECEIVER), (RECEIVER, SOURCE)),
}

LONG_SCOPES: tuple[tuple[dict[str, Any], int], ...] = (
    ({"moves": 1, "transaction": "participant"}, 8_747),
    ({"moves": 1, "transaction": "home"}, 6_272),
    ({"moves": 1, "transaction": "participant", "attempts": 2}, 47_331),
    ({"moves": 1, "transaction": "home", "attempts": 2}, 37_572),
    ({"route": "another"}, 56_784),
    ({"route": "back"}, 204_698),
)
"""Those that are too long for every run of the tests, and how many states each has."""


class MoveScope:
    """All states. `mistake` is one of the mover's or a leader's, to see that it is found."""

    def __init__(
        self,
        *,
        route: str = "",
        moves: int = 2,
        once: bool = False,
        clocks: bool = False,
        transaction: str = "",
        attempts: int = 1,
        mistake: str = "",
    ) -> None:
        """`transaction`: the slot is its "participant", or its "home". It is tried in the source, and then in
        the receiver.
        """
        self._routes = routes = ROUTES[route]
        self._once = once
        self._clocks = clocks
        self._groups = groups = MoveGroups()
        self._steps = steps = Steps(routes, transaction)
        self._leaders = Leaders(groups, steps, routes, mistake)
        self._mover = Mover(groups, steps, routes, moves, mistake)
        self._coordinator = Coordinator(groups, steps, routes, attempts)
        self._end = End(groups, steps)
        self._checked: set[tuple[int, ...]] = set()

    def explore(self) -> int:
        """Visit every state, and return how many there are. Raises `Violation`."""
        first = State(self._groups.begin(clocks=self._clocks), 0, 0)
        if self._once:
            asked = sorted({*sum(self._routes, ())})
            first = first._replace(sent=self._steps.sent(*[(f"once {g}", g, TOKEN) for g in asked]))
        return visit(first, self._check, self._successors)

    # -- what may happen

    def _successors(self, state: State) -> Iterator[tuple[str, State]]:
        for step in self._steps.names(state.sent):
            group = self._steps.of(step)[0]
            if not step.startswith("once") or self._groups.facts(state.groups[group - 1]).routed:
                yield step, self._arrive(state, step)
        if self._clocks:
            for group in GROUPS[:2]:
                yield f"time passes in group {group}", self._later(state, group)
        yield from self._mover.next(state)
        yield from self._coordinator.next(state)

    def _arrive(self, state: State, step: str) -> State:
        group, command = self._steps.of(step)
        at, outcome, fresh = self._groups.arrival(state.groups[group - 1], step, command)
        assert not (fresh and state.executed), "the increment took effect twice"
        groups, executed = with_group(state.groups, group, at), state.executed or fresh
        heard = self._mover.remembered(state, state.heard | self._mover.heard(step, outcome))
        sent = state.sent | self._leaders.told(step, outcome) | self._leaders.driven(groups)
        return self._seen(state._replace(groups=groups, sent=sent, heard=heard, executed=executed))

    def _later(self, state: State, group: int) -> State:
        at = self._groups.later(state.groups[group - 1])
        return self._seen(state._replace(groups=with_group(state.groups, group, at)))

    def _seen(self, state: State) -> State:
        owners = [
            facts.stamp for facts in map(self._groups.facts, state.groups) if facts.slot == SlotState.OWN
        ]
        return state._replace(time=max((state.time, *owners)))

    # -- what must hold

    def _check(self, state: State) -> None:
        all_facts = [self._groups.facts(at) for at in state.groups]
        owners = [facts for facts in all_facts if facts.slot == SlotState.OWN]
        assert len(owners) <= 1, "the slot has two owners"
        assert len(owners) + sum(facts.frozen is not None for facts in all_facts) >= 1, "nobody has the slot"
        for facts in all_facts:
            if facts.serves:
                assert facts in owners, "a group serves a slot that it does not own"
                assert facts.counted == state.executed, "the owner does not show what was done"
                assert facts.stamp >= state.time, "log time goes back for the slot"
                assert facts.due <= (state.time < NOW + 10), "a key that has expired is there again"
        if (*state.groups, state.executed) not in self._checked:
            self._checked.add((*state.groups, state.executed))
            self._end.check(state.groups, state.executed)


def main() -> None:
    """Visit the long scopes."""
    for scope, states in LONG_SCOPES:
        found = MoveScope(**scope).explore()
        sys.stdout.write(f"{scope}: {found:,} states\n")
        sys.stdout.flush()
        if found != states:
            raise SystemExit(f"not {states:,}: mend this list, and docs/design/slots.md")


if __name__ == "__main__":
    main()
