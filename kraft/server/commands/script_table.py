"""The specifications of the commands on scripts."""

from collections.abc import Callable
from dataclasses import replace

from kraft.kv.commands import ScriptCall
from kraft.kv.ledger import LedgerKind
from kraft.resp.values import Request
from kraft.server.commands import introspection, scripts
from kraft.server.commands.all_groups import ANY, EVERYWHERE, IN_EVERY_GROUP, IN_ORDER
from kraft.server.commands.script_reply import shaped
from kraft.server.commands.spec import LocalSpec, ReadSpec, ScriptSpec, WriteSpec, specs_by_name

_CALL = ("noscript", "stale", "skip_monitor", "no_mandatory_keys", "movablekeys")


def call(
    name: str, run: Callable[[Request], ScriptCall], summary: str, script: str, *, read: bool = False
) -> ScriptSpec:
    """The specification of a command that calls a `script` or function; it may not write with `read`."""
    access = ("RO", "access") if read else ("RW", "access", "update")
    return ScriptSpec(
        name=name, arity=-3, run=run, counted=(2, 1), key_flags=(access,), shape=shaped,
        flags=("readonly", *_CALL) if read else _CALL,
        summary=summary, usage=f"{script} numkeys [key [key ...]] [arg [arg ...]]",
    )  # fmt: skip


# fmt: off
SCRIPT_WRITES = (
    WriteSpec(name="script|flush", arity=-2, run=scripts.flush, group="scripting", flags=("noscript",),
        acl=("scripting",), all_groups=IN_ORDER, summary="Removes all scripts from the cache.",
        usage="[ASYNC|SYNC]"),
    replace(call("script|load", scripts.load, "", ""), arity=3, counted=(0, 1), key_flags=(),
        flags=("noscript", "stale"), all_groups=IN_EVERY_GROUP,
        summary="Puts a script into the cache of all nodes; returns its SHA-1.", usage="script"),
)

_FAMILY = (
    *SCRIPT_WRITES,
    ReadSpec(name="script|exists", arity=-3, run=scripts.exists, group="scripting", flags=("noscript",),
        acl=("scripting",), rows=(LedgerKind.SCRIPT,), rows_of=scripts.asked, no_multi=True,
        all_groups=EVERYWHERE, summary="Says which scripts are in the cache.", usage="sha1 [sha1 ...]"),
    LocalSpec(name="script|kill", arity=2, run=scripts.kill, group="scripting",
        flags=("noscript", "allow_busy"), acl=("scripting",),
        summary="Replies that no script runs: the limits of scripts end a long one."),
    ReadSpec(name="script|show", arity=3, run=scripts.show, group="scripting", flags=("noscript",),
        acl=("scripting",), rows=(LedgerKind.SCRIPT,), rows_of=scripts.asked, no_multi=True, all_groups=ANY,
        summary="Returns the text of a script in the cache.", usage="sha1"),
    LocalSpec(name="script|help", arity=2, run=introspection.family_help, group="scripting",
        flags=("loading", "stale"), summary="Lists the subcommands."),
)

CALLS = (
    call("eval", scripts.eval_, "Runs a script in Lua, as one: all of it takes effect, or nothing.",
        "script"),
    call("evalsha", scripts.evalsha, "Runs a script of the cache.", "sha1"),
)

SCRIPTING = (
    *CALLS,
    call("eval_ro", scripts.eval_, "Runs a script that may not write.", "script", read=True),
    call("evalsha_ro", scripts.evalsha, "Runs a script of the cache that may not write.", "sha1", read=True),
    LocalSpec(name="script", arity=-2, run=introspection.unknown, group="scripting", flags=(),
        summary="Contains the commands about the cache of scripts.", subcommands=specs_by_name(*_FAMILY)),
)
# fmt: on
