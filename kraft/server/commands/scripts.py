"""Scripts: EVAL and its kin, and the family SCRIPT.

The leader looks for the script in the cache, and evaluates it. The cache is part of the replicated state.
"""

from hashlib import sha1

from kraft.host.requests.round import View
from kraft.kv import commands as kv
from kraft.kv.footprint import RowName
from kraft.kv.ledger import LedgerKind
from kraft.kv.scripts import SHA_LENGTH, script_source
from kraft.resp.values import Reply, Request
from kraft.server.commands.arguments import integer
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import NO_SCRIPT, Rejected


def calls(request: Request, count: int, sha: bytes, source: bytes, mode: kv.ScriptMode) -> kv.ScriptCall:
    """The call of a script or a function with so many keys, which begin at the fourth word."""
    if count > len(request) - 3:
        raise Rejected("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise Rejected("ERR Number of keys can't be negative")
    return kv.ScriptCall(sha, source, tuple(request[3 : 3 + count]), tuple(request[3 + count :]), int(mode))


def _mode(request: Request) -> kv.ScriptMode:
    return kv.ScriptMode.READ if request[0][-3:].upper() == b"_RO" else kv.ScriptMode.CALL


def eval_(request: Request) -> kv.ScriptCall:
    """EVAL and EVAL_RO script numkeys [key ...] [argument ...]."""
    return calls(request, integer(request[2]), digest(request[1]), request[1], _mode(request))


def evalsha(request: Request) -> kv.ScriptCall:
    """EVALSHA and EVALSHA_RO sha1 numkeys [key ...] [argument ...]."""
    return calls(request, integer(request[2]), request[1].lower(), b"", _mode(request))


def load(request: Request) -> kv.ScriptCall:
    """SCRIPT LOAD script."""
    return kv.ScriptCall(digest(request[2]), request[2], (), (), int(kv.ScriptMode.LOAD))


def flush(request: Request) -> kv.Command:
    """SCRIPT FLUSH [ASYNC | SYNC]."""
    if len(request) > 3 or (len(request) == 3 and request[2].upper() not in (b"ASYNC", b"SYNC")):
        raise Rejected("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    return kv.FlushScripts()


def exists(view: View, request: Request) -> Reply:
    """SCRIPT EXISTS sha1 [sha1 ...]."""
    return [int(script_source(view.keyspace.ledger, sha.lower()) is not None) for sha in request[2:]]


def asked(request: Request) -> list[RowName]:
    """The scripts that SCRIPT EXISTS and SHOW ask for; a name that is none finds nothing, cut or not."""
    return [(LedgerKind.SCRIPT, sha.lower()[: SHA_LENGTH + 1]) for sha in request[2:]]


def show(view: View, request: Request) -> Reply:
    """SCRIPT SHOW sha1: the text of the script, as in Valkey 8."""
    source = script_source(view.keyspace.ledger, request[2].lower())
    if source is None:
        raise Rejected(NO_SCRIPT)
    return source


def kill(_: CommandContext, __: Request) -> Reply:
    """SCRIPT KILL: no script runs while a command does, and none longer than `scripts.time`."""
    raise Rejected("NOTBUSY No scripts in execution right now.")


def digest(source: bytes) -> bytes:
    """The SHA-1 of a script in hexadecimal digits."""
    return sha1(source, usedforsecurity=False).hexdigest().encode()
