"""MULTI and its relatives. There are no transactions: MULTI is refused, and with it everything up to EXEC.

A client library sends MULTI, commands and EXEC in one go. So a refused MULTI still begins something, which
EXEC or DISCARD ends. In between `Validation.gather` refuses every request (`SessionState.in_transaction`).
"""

from kraft.resp.values import Reply, Request
from kraft.server import errors
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import Rejected


def multi(context: CommandContext, _: Request) -> Reply:
    """MULTI: refused, and so is every request up to EXEC, DISCARD or RESET."""
    context.state.in_transaction = True
    raise Rejected(errors.NO_TRANSACTIONS)


def exec_(context: CommandContext, _: Request) -> Reply:
    """EXEC: nothing was executed."""
    _end(context, "EXEC")
    raise Rejected("EXECABORT Transaction discarded because of previous errors.")


def discard(context: CommandContext, _: Request) -> Reply:
    """DISCARD: nothing was executed."""
    _end(context, "DISCARD")
    return "OK"


def watch(context: CommandContext, _: Request) -> Reply:
    """WATCH key ...: refused."""
    if context.state.in_transaction:
        raise Rejected("ERR WATCH inside MULTI is not allowed")
    raise Rejected("ERR WATCH is refused: there are no transactions")


def unwatch(_: CommandContext, __: Request) -> Reply:
    """UNWATCH: no key is watched."""
    return "OK"


def _end(context: CommandContext, name: str) -> None:
    if not context.state.in_transaction:
        raise Rejected(f"ERR {name} without MULTI")
    context.state.in_transaction = False
