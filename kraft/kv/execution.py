"""Executes the steps of a transaction in order: they have one revision together, and one reply."""

from collections.abc import Callable, Sequence
from typing import Any

from kraft.kv.commands import Look, Put, Step
from kraft.kv.excerpt import Excerpts
from kraft.kv.replies import Reply
from kraft.kv.state import MachineState

Run = Callable[[MachineState, Any], Reply]
"""Applies a command or a step to a state."""


def execute(state: MachineState, steps: Sequence[Step], run: Run) -> Reply:
    """The reply to an `Exec` of these steps, without a look at what it watches."""
    excerpts = Excerpts(state.keyspace)
    before, changed = state.revision, False
    replies: list[Reply] = []
    put, add, revision = state.keyspace.put, replies.append, before + 1
    for step in steps:
        if type(step) is Put:  # as in `Machine.apply`
            put(step.key, step.value, revision)
            add("OK")
            changed = True
            continue
        state.revision = before  # every change of a transaction has the next one
        add(excerpts.look(step) if type(step) is Look else run(state, step))
        changed = changed or state.revision > before
    state.revision = before + changed
    return excerpts.reply(state.stamp, replies)
