"""How long each command on data takes, in the notation of Redis: COMMAND DOCS and docs/commands.md show it.

N is the number of keys in the command unless the text says otherwise. What a write takes is taken on every
replica; the way through the log comes in addition.
"""

_ONE = "O(1)"
_VALUE = "O(N) where N is the length of the value"

COMPLEXITY: dict[str, str] = {
    **dict.fromkeys(
        (
            "get", "set", "setnx", "setex", "psetex", "getset", "getex", "getdel", "strlen", "incr", "decr",
            "incrby", "decrby", "incrbyfloat", "delifeq", "kvstore-set", "kvstore-get", "type", "rename",
            "renamenx", "expire", "pexpire", "expireat", "pexpireat", "persist", "ttl", "pttl", "expiretime",
            "pexpiretime", "dbsize", "getbit", "object|encoding", "object|freq", "object|idletime",
            "object|refcount", "memory|usage", "kraft|rev", "kraft|cas", "kraft|lock", "kraft|unlock",
            "kraft|extend", "copy", "bitfield_ro",
        ),
        _ONE,
    ),
    **dict.fromkeys(("mget", "mset", "msetnx", "msetex", "del", "unlink", "exists", "touch"), "O(N)"),
    **dict.fromkeys(
        ("append", "setrange", "setbit", "bitcount", "bitpos", "bitfield", "digest", "dump", "restore"),
        _VALUE,
    ),
    **dict.fromkeys(("getrange", "substr"), "O(N) where N is the length of the part"),
    "delex": "O(1), with IFDEQ and IFDNE O(N) where N is the length of the value",
    "lcs": "O(N*M/64) where N and M are the lengths of the values, at most 8192 each",
    "bitop": "O(N) where N is the length of all values together",
    "scan": "O(COUNT) for one call, O(N) for a whole scan of N keys",
    "keys": "O(N) where N is the number of all keys, in the background",
    "cluster|countkeysinslot": "O(N) where N is the number of all keys of the group, in the background",
    "cluster|getkeysinslot": "O(N) where N is the number of all keys of the group, in the background",
    "randomkey": _ONE,
    "kraft|range": "O(log(N)+M) where N is the number of all keys and M that of the keys in the reply",
    **dict.fromkeys(("flushall", "flushdb"), "O(1); the memory of N keys is freed in O(N) in the background"),
    **dict.fromkeys(("kraft|guard", "kraft|once"), "that of the command that follows"),
    **dict.fromkeys(("eval", "evalsha", "eval_ro", "evalsha_ro"), "that of the script"),
    **dict.fromkeys(("fcall", "fcall_ro"), "that of the function, and of the text of its library"),
    **dict.fromkeys(
        ("function|dump", "function|flush", "function|list", "function|stats"),
        "O(N) where N is the number of functions",
    ),
    **dict.fromkeys(("function|load", "function|restore"), "O(N) where N is the number of functions loaded"),
    "function|delete": "O(N) where N is the number of functions in the library",
    "exec": "that of all queued commands",
    "watch": "O(N)",
    "script|exists": "O(N) where N is the number of digests",
    "script|flush": "O(N) where N is the number of scripts",
    "script|show": _ONE,
}  # fmt: skip
"""By name, `kraft|cas` for a subcommand. Commands that are not here take O(1)."""


def complexity_of(name: str) -> str:
    """The complexity of a command."""
    return COMPLEXITY.get(name, _ONE)
