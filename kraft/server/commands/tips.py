"""The tips of COMMAND: to which nodes of a cluster a client sends a command without keys, and what it makes
of the replies (https://redis.io/docs/latest/develop/reference/command-tips/).

They are those of Redis 7. Commands with several keys have none: clients would divide them by slots, and here
one of them takes effect as one.
"""

_ALL_SHARDS = "request_policy:all_shards"
_ALL_NODES = "request_policy:all_nodes"
_ALL_SUCCEED = "response_policy:all_succeeded"
_ONE_SUCCEEDS = "response_policy:one_succeeded"
_LEAST = "response_policy:agg_min"

TIPS: dict[str, tuple[str, ...]] = {
    "dbsize": (_ALL_SHARDS, "response_policy:agg_sum"),
    "scan": ("nondeterministic_output", "request_policy:special"),
    "keys": (_ALL_SHARDS, "nondeterministic_output_order"),
    "randomkey": (_ALL_SHARDS, "nondeterministic_output"),
    "flushall": (_ALL_SHARDS, _ALL_SUCCEED),
    "flushdb": (_ALL_SHARDS, _ALL_SUCCEED),
    "wait": (_ALL_SHARDS, _LEAST),
    "waitaof": (_ALL_SHARDS, _LEAST),
    "script|exists": (_ALL_SHARDS, "response_policy:agg_logical_and"),
    "script|flush": (_ALL_NODES, _ALL_SUCCEED),
    "script|kill": (_ALL_SHARDS, _ONE_SUCCEEDS),
    "script|load": (_ALL_NODES, _ALL_SUCCEED),
    "function|delete": (_ALL_SHARDS, _ALL_SUCCEED),
    "function|flush": (_ALL_SHARDS, _ALL_SUCCEED),
    "function|kill": (_ALL_SHARDS, _ONE_SUCCEEDS),
    "function|load": (_ALL_SHARDS, _ALL_SUCCEED),
    "function|restore": (_ALL_SHARDS, _ALL_SUCCEED),
    "function|stats": ("nondeterministic_output", _ALL_SHARDS, "response_policy:special"),
}
"""By the name of the command."""
