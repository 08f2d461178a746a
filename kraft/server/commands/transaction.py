"""Transactions: MULTI, EXEC, DISCARD, WATCH and UNWATCH.

Between MULTI and EXEC `Validation` queues what the client sends (`SessionState.multi`). What it watches has
the revisions that a linearizable read found, and is part of the logged transaction: so it holds on any node,
and across a change of leader.
"""

from collections.abc import Sequence
from functools import partial

from msgspec.structs import replace

from kraft.kv import commands as kv
from kraft.resp.values import Error, Reply, Request
from kraft.server import errors
from kraft.server.access_log import MULTI
from kraft.server.commands import once
from kraft.server.commands.execution import Execution
from kraft.server.commands.partition import GroupOf
from kraft.server.commands.spec import CommandContext, ScriptSpec, WriteSpec
from kraft.server.errors import CrossSlot, Rejected
from kraft.server.multi_state import MultiState, Queued
from kraft.server.rights import FREE, Denial, Reason, Rights


def multi(context: CommandContext, _: Request) -> Reply:
    """MULTI: what follows is queued up to EXEC, DISCARD or RESET."""
    if context.state.multi is not None:
        raise Rejected("ERR MULTI calls can not be nested")
    context.state.multi = MultiState()
    return "OK"


def discard(context: CommandContext, _: Request) -> Reply:
    """DISCARD: forget what is queued and watched."""
    if context.state.multi is None:
        raise Rejected("ERR DISCARD without MULTI")
    context.state.end_transaction()
    return "OK"


def unwatch(context: CommandContext, _: Request) -> Reply:
    """UNWATCH: forget what is watched."""
    context.state.unwatch()
    return "OK"


def watch(context: CommandContext, request: Request) -> dict[int, list[bytes]]:
    """WATCH key ...: the keys by group, whose revisions are to be remembered."""
    state, limits = context.state, context.port.limits
    if state.multi is not None:
        raise Rejected(errors.WATCH_INSIDE_MULTI)
    keys = [key for key in request[1:] if key not in state.watched]
    if len(state.watched) + len(keys) > limits.arguments:
        raise Rejected("ERR too many watched keys")
    if state.watched_bytes + sum(map(len, keys)) > limits.request_bytes:
        raise Rejected(errors.over_limit("watched keys", limits.request_bytes))
    routing = context.port.routing
    if routing.trivial or not keys:
        return {0: keys}
    groups: dict[int, list[bytes]] = {}
    for key in keys:
        groups.setdefault(routing.group_of_key(key), []).append(key)
    return groups


def exec_once(context: CommandContext, request: Request) -> Execution:
    """KRAFT ONCE token EXEC."""
    multi = context.state.multi
    if multi is not None and multi.token is None and len(request) == once.WORDS + 1:
        multi.token = once.token_of(request)
    elif multi is not None:
        multi.aborted = True
    return exec_(context, request[once.WORDS :])


def exec_(context: CommandContext, request: Request) -> Execution:
    """EXEC: what is to be executed. Whatever the outcome, nothing is queued or watched afterwards."""
    state, port = context.state, context.port
    queued, watched = state.multi, list(state.watched.values())
    if len(request) > 1:
        state.end_transaction()
        raise Rejected(f"{errors.ABORTED_BECAUSE} wrong number of arguments for 'exec' command")
    if queued is None:
        raise Rejected("ERR EXEC without MULTI")
    state.end_transaction()
    if queued.aborted:
        raise Rejected("EXECABORT Transaction discarded because of previous errors.")
    if port.full and any(type(each.spec) is WriteSpec and each.spec.grows for each in queued.commands):
        raise Rejected(f"{errors.ABORTED_BECAUSE} {errors.OUT_OF_MEMORY}")
    if state.rights is not None:
        _check_watched(context, state.rights, watched)
        queued.commands = [_permitted(context, state.rights, queued, each) for each in queued.commands]
    return _planned(context, queued, watched)


def _planned(context: CommandContext, queued: MultiState, watched: list[kv.Watched]) -> Execution:
    """The execution of what was queued, in the groups that own the keys now."""
    port = context.port
    group, group_of = _group(context, queued, watched)
    execution = Execution(context, queued.commands, watched, group, queued.size, group_of)
    execution.again = partial(_planned, context, queued, watched)
    if queued.token is not None:
        execution.once(queued.token)
    obstacle = execution.obstacle(port.host)
    if obstacle:
        raise Rejected(f"ERR 'exec' {obstacle}")
    return execution


def _permitted(context: CommandContext, rights: Rights, multi: MultiState, queued: Queued) -> Queued:
    """The command, or an error in its place if the user may not run it any more.

    With a token the whole is refused: the reply to a token is a stored one, with a place for each command.
    A script runs with the rights that its caller has now, not with those from when it was queued.
    """
    if isinstance(queued.step, Error):
        return queued
    denial = None if rights.permits.get(queued.spec) is FREE else rights.denial(queued.spec, queued.request)
    if denial is None:
        if isinstance(queued.step, kv.ScriptCall) and queued.step.user != rights.encoded:
            return replace(queued, step=replace(queued.step, user=rights.encoded))
        return queued
    error = _changed(context, denial)
    if multi.token is not None:
        raise Rejected(f"{errors.ABORTED_BECAUSE} {error}")
    return Queued(queued.spec, queued.request, Error(error))


def _check_watched(context: CommandContext, rights: Rights, watched: Sequence[kv.Watched]) -> None:
    """Raise Rejected if the user has no right any more on a key, whose change the outcome would tell."""
    if watched:
        denial = rights.denial(context.table[b"WATCH"], [b"WATCH", *(each.key for each in watched)])
        if denial is not None:
            raise Rejected(f"{errors.ABORTED_BECAUSE} {_changed(context, denial)}")


def _changed(context: CommandContext, denial: Denial) -> str:
    """The error for what was allowed when it was queued; it is in ACL LOG, too."""
    state = context.state
    context.port.users.denied(denial, MULTI, state.user, state.id)
    return f"{_RULES_CHANGED} {_REASONS[denial.reason]}"


_RULES_CHANGED = (
    "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call."
    " This command is no longer allowed for the following reason:"
)
_REASONS = {
    Reason.COMMAND: "no permission to execute the command or subcommand",
    Reason.KEY: "no permission to touch the specified keys",
}


def _group(
    context: CommandContext, multi: MultiState, watched: list[kv.Watched]
) -> tuple[int, GroupOf | None]:
    """The group of all keys; if these are in several, that of the first, and what tells the group of each.

    Commands that were refused when they were queued have no part in it. Raises Rejected as
    `Routing.group_of` does: also when leadership has moved.
    """
    routing = context.port.routing
    if routing.trivial:
        return 0, None
    commands = [queued for queued in multi.commands if not isinstance(queued.step, Error)]
    for queued in commands if routing.slots.groups > 1 else ():
        if queued.spec.all_groups is not None:
            text = f"groups were created meanwhile, and '{queued.spec.name}' concerns all of them"
            raise Rejected(f"{errors.ABORTED_BECAUSE} {text}")
    keys = [key for queued in commands for key in queued.spec.routed_by(queued.request)]
    keys += [each.key for each in watched]
    reads = not any(isinstance(queued.spec, WriteSpec | ScriptSpec) for queued in commands)
    anywhere = context.state.readonly and reads
    try:
        return routing.group_of(keys, anywhere=anywhere), None
    except CrossSlot:
        if context.port.config.client.cross_group == "refuse":
            raise
        return routing.group_of(keys[:1], anywhere=anywhere), routing.group_of_key
