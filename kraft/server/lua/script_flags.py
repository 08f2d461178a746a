"""The first line of a script, if it begins with `#!`: the engine and the script's flags, as in Redis 7."""

import msgspec

from kraft.resp.inline import UnbalancedQuotes, split_arguments
from kraft.server.errors import Rejected, printable

_KNOWN = {
    b"no-writes": "no_writes",
    b"allow-oom": "allow_oom",
    b"allow-stale": "",  # no replica runs scripts
    b"no-cluster": "",
    b"allow-cross-slot-keys": "",
}


class ScriptFlags(msgspec.Struct, frozen=True):
    """What a script may do, and the `code` after the line, with the line left empty so that numbers stay."""

    code: bytes = b""
    no_writes: bool = False
    allow_oom: bool = False


def script_flags(source: bytes) -> ScriptFlags:
    """Read the flags of a script. Raises Rejected."""
    if not source.startswith(b"#!"):
        return ScriptFlags(source)
    line, end, rest = source.partition(b"\n")
    if not end:
        raise Rejected("ERR Invalid script shebang")
    try:
        engine, *options = split_arguments(line)
    except UnbalancedQuotes:
        raise Rejected("ERR Invalid engine in script shebang") from None
    if engine != b"#!lua":
        raise Rejected(f"ERR Unexpected engine in script shebang: {printable(engine)}")
    flags: dict[str, bool] = {}
    for option in options:
        name, _, values = option.partition(b"=")
        if name != b"flags":
            raise Rejected(f"ERR Unknown lua shebang option: {printable(option)}")
        for flag in filter(None, values.split(b",")):
            if flag not in _KNOWN:
                raise Rejected(f"ERR Unexpected flag in script shebang: {printable(flag)}")
            if _KNOWN[flag]:
                flags[_KNOWN[flag]] = True
    return ScriptFlags(end + rest, **flags)
