"""The specifications of the commands on functions."""

from kraft.server.commands import functions, introspection
from kraft.server.commands.all_groups import ANY, IN_ORDER
from kraft.server.commands.script_reply import shaped
from kraft.server.commands.script_table import call
from kraft.server.commands.spec import LocalSpec, ReadSpec, ScriptSpec, WriteSpec, specs_by_name

_STORE = ("write", "denyoom", "noscript")

# fmt: off
FUNCTION_WRITES = (
    WriteSpec(name="function|delete", arity=3, run=functions.delete, shape=functions.deleted,
        group="scripting", flags=("write", "noscript"), acl=("write", "scripting"), all_groups=ANY,
        summary="Removes a library with its functions.", usage="library-name"),
    WriteSpec(name="function|flush", arity=-2, run=functions.flush, group="scripting",
        flags=("write", "noscript"), acl=("write", "scripting"), all_groups=IN_ORDER,
        summary="Removes all libraries.", usage="[ASYNC|SYNC]"),
    ScriptSpec(name="function|load", arity=-3, run=functions.load, shape=shaped, flags=_STORE,
        acl=("write", "scripting"), all_groups=IN_ORDER,
        summary="Stores a library on all nodes; returns its name.", usage="[REPLACE] function-code"),
    ScriptSpec(name="function|restore", arity=-3, run=functions.restore, shape=shaped, flags=_STORE,
        acl=("write", "scripting"), all_groups=IN_ORDER,
        summary="Stores the libraries of a dump.", usage="serialized-value [FLUSH|APPEND|REPLACE]"),
)

_FAMILY = (
    *FUNCTION_WRITES,
    ReadSpec(name="function|dump", arity=2, run=functions.dump, group="scripting", flags=("noscript",),
        acl=("scripting",), no_multi=True, summary="Returns all libraries in one value."),
    LocalSpec(name="function|kill", arity=2, run=functions.kill, group="scripting",
        flags=("noscript", "allow_busy"), acl=("scripting",),
        summary="Replies that no function runs: the limits of scripts end a long one."),
    ReadSpec(name="function|list", arity=-2, run=functions.list_, group="scripting", flags=("noscript",),
        acl=("scripting",), no_multi=True, summary="Describes the libraries.",
        usage="[LIBRARYNAME library-name-pattern] [WITHCODE]"),
    ReadSpec(name="function|stats", arity=2, run=functions.stats, group="scripting",
        flags=("noscript", "allow_busy"), acl=("scripting",), no_multi=True,
        summary="Counts libraries and functions."),
    LocalSpec(name="function|help", arity=2, run=introspection.family_help, group="scripting",
        flags=("loading", "stale"), summary="Lists the subcommands."),
)

FCALL = call("fcall", functions.fcall,
    "Calls a function of a library, as one: all of it takes effect, or nothing.", "function")

FUNCTIONS = (
    FCALL,
    call("fcall_ro", functions.fcall, "Calls a function that may not write.", "function", read=True),
    LocalSpec(name="function", arity=-2, run=introspection.unknown, group="scripting", flags=(),
        summary="Contains the commands about libraries of functions.",
        subcommands=specs_by_name(*_FAMILY)),
)
# fmt: on
