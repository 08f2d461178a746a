"""kraft beside redis-server (7.0 of Debian): the same requests, replies of the same shape.

Values differ where they must (ids, counters, addresses), so most tests compare types, names and texts.
"""

import re

import pytest

from kraft.server.commands.command import all_specs
from kraft.server.commands.table import TABLE
from kraft.server.suggestion import closest
from tests.cluster.wire import Client, Refusal

pytestmark = pytest.mark.slow

OWN = ("kraft", "help", "kvstore-get", "kvstore-set", "raft-add-node", "raft-remove-node", "exit")
# Commands that Redis 7.0 does not have.
NEWER = (
    "client|setinfo", "client|no-touch", "client|capa", "msetex", "delex", "delifeq", "digest", "waitaof",
    "script|show", "cluster|myshardid",
)  # fmt: skip
# Redis 7.0 names fewer arguments of these than they take, puts a single argument into a block, or has other
# names or types for the same words.
DOCUMENTED_OTHERWISE = (
    "set", "setbit", "bitfield", "bitfield_ro", "incrbyfloat",
    "client|kill", "client|list", "command|getkeys", "command|getkeysandflags", "config|get",
    "cluster|keyslot",
)  # fmt: skip
NAMES = [
    spec.name
    for spec in all_specs(TABLE)
    if spec.name.partition("|")[0] not in OWN and spec.name not in NEWER
]


@pytest.fixture
def both(redis_port, shared_cluster):
    """`both(request, ...)`: the reply of Redis and of kraft to the last request, each on a new connection."""

    def ask(*requests):
        replies = []
        for port in (redis_port, shared_cluster["K1"].client_port):
            with Client(port) as client:
                replies.append([client.call(*words(request)) for request in requests][-1])
        return replies

    return ask


def words(request):
    """The words of a request; '' stands for an empty one."""
    return ["" if word == "''" else word for word in request.split(" ")]


def tree(reply):
    """A RESP2 reply of nested name-value lists, as dictionaries, with text for bytes."""
    if isinstance(reply, bytes):
        return reply.decode()
    if isinstance(reply, list):
        items = [tree(each) for each in reply]
        if items and len(items) % 2 == 0 and all(isinstance(name, str) for name in items[::2]):
            return dict(zip(items[::2], items[1::2], strict=True))
        return items
    return reply


SAME = """
SET p:a 1
SET p:a 1 EX ''
SET p:a 1 EX
SET p:a 1 PX 0
SET p:a 1 EX x
SET p:a 1 NX XX
SETEX p:a '' v
PSETEX p:a x v
EXPIRE p:a ''
INCRBY p:a ''
DECRBY p:a -9223372036854775808
SETRANGE p:a -1 x
GETRANGE p:a x 1
SELECT ''
SELECT x
MSET p:a
MULTI x
EXEC
DISCARD
UNWATCH
NOSUCH a b
GET
CLIENT NOSUCH
CLIENT KILL
CLIENT KILL ID ''
CLIENT KILL ID 0
CLIENT KILL ID 1 2
CLIENT KILL TYPE x
CLIENT KILL TYPE pubsub
CLIENT KILL USER nobody
CLIENT KILL SKIPME maybe
CLIENT KILL 1.2.3.4:5
CLIENT KILL ADDR 1.2.3.4:5 LADDR 1.2.3.4:5
CLIENT LIST ID
CLIENT LIST ID x
CLIENT LIST TYPE x
CLIENT LIST TYPE pubsub
CLIENT LIST NOSUCH
CLIENT NO-EVICT x
CLIENT NO-EVICT on
CLIENT REPLY x
CLIENT SETNAME ''
CLIENT GETNAME
CLIENT ID x
HELLO ''
HELLO 4
HELLO 3 NOSUCH
COMMAND LIST FILTERBY
COMMAND LIST FILTERBY MODULE x
COMMAND LIST FILTERBY NOSUCH x
COMMAND LIST FILTERBY ACLCAT nosuch
COMMAND INFO nosuch
COMMAND DOCS nosuch
COMMAND COUNT x
COMMAND GETKEYSANDFLAGS SET a b
COMMAND GETKEYSANDFLAGS SET a b GET
COMMAND GETKEYSANDFLAGS MSET a 1 b 2
COMMAND GETKEYSANDFLAGS DEL a b
COMMAND GETKEYSANDFLAGS COPY a b
COMMAND GETKEYSANDFLAGS RENAME a b
COMMAND GETKEYSANDFLAGS BITOP AND a b c
COMMAND GETKEYSANDFLAGS BITFIELD a GET u8 0
COMMAND GETKEYSANDFLAGS BITFIELD a GET u8 0 SET u8 0 1
COMMAND GETKEYSANDFLAGS OBJECT ENCODING a
COMMAND GETKEYSANDFLAGS OBJECT NOSUCH a
COMMAND GETKEYSANDFLAGS MEMORY USAGE a
COMMAND GETKEYSANDFLAGS NOSUCH a b
COMMAND GETKEYSANDFLAGS GET a b c
COMMAND GETKEYSANDFLAGS PING a
COMMAND GETKEYS MSET a 1 b 2
COMMAND GETKEYS PING a
CONFIG GET
CONFIG GET save
CONFIG GET nosuch
CONFIG RESETSTAT
CONFIG RESETSTAT x
INFO nosuch
INFO cluster
"""


@pytest.mark.parametrize("request_", SAME.strip().splitlines())
def test_the_same_reply(both, request_):
    redis_reply, kraft_reply = both(request_)
    assert kraft_reply == redis_reply
    assert type(kraft_reply) is type(redis_reply)


def test_a_transaction_ends_in_the_same_way(both):
    redis_reply, kraft_reply = both("MULTI", "NOSUCH", "EXEC")
    assert (
        kraft_reply == redis_reply == Refusal("EXECABORT Transaction discarded because of previous errors.")
    )
    redis_reply, kraft_reply = both("MULTI", "WATCH a")
    assert kraft_reply == redis_reply
    redis_reply, kraft_reply = both("MULTI", "SET a 1", "DISCARD")
    assert kraft_reply == redis_reply == "OK"
    redis_reply, kraft_reply = both("WATCH p:w", "SET p:w 1", "MULTI", "DEL p:w", "EXEC")
    assert kraft_reply == redis_reply is None
    redis_reply, kraft_reply = both("MULTI", "SET p:w x", "INCR p:w", "GET p:w", "DEL p:w", "EXEC")
    assert kraft_reply == redis_reply


@pytest.mark.parametrize("name", NAMES)
def test_command_info(both, name):
    """Flags, key positions, categories and key specifications.

    GETKEYS takes a command of one word, as Redis 7.4 does.
    """
    redis_reply, kraft_reply = (reply[0] for reply in both(f"COMMAND INFO {name}"))
    name_, arity, flags, *keys, categories, _, specs, _ = redis_reply
    ours = kraft_reply
    assert ours[0] == name_
    assert ours[1] == arity + name.startswith("command|getkeys")
    assert ours[3:6] == keys
    assert _without_notes(tree(ours[8])) == _without_notes(tree(specs))
    if not TABLE[name.partition("|")[0].upper().encode()].subcommands or "|" in name:
        assert set(ours[2]) == set(flags) - {"no_async_loading"}
        assert ours[6] == categories


def _without_notes(specs):
    return [{key: value for key, value in spec.items() if key != "notes"} for spec in specs]


@pytest.mark.parametrize("name", NAMES)
def test_command_docs(both, name):
    """The arguments, apart from the names of groups; what Redis 7.0 has in addition is named here."""
    redis_docs, kraft_docs = (tree(reply)[name] for reply in both(f"COMMAND DOCS {name}"))
    assert kraft_docs["group"] == redis_docs["group"]
    assert set(kraft_docs) - set(redis_docs) <= {"subcommands", "arguments"}
    if name in DOCUMENTED_OTHERWISE:
        return
    assert _shapes(kraft_docs.get("arguments", [])) == _shapes(redis_docs.get("arguments", []))


def _shapes(arguments):
    """Type, token and flags of each argument, and of those inside; the name of a value."""
    return [
        (
            each["type"],
            each.get("token"),
            sorted(each.get("flags", [])),
            each["name"] if each["type"] not in ("block", "oneof") else "",
            _shapes(each.get("arguments", [])),
        )
        for each in arguments
    ]


def test_command_list_has_what_redis_has_of_it(both):
    """Subcommands too; by category, all commands that Redis has in it and kraft knows."""
    redis_names, kraft_names = map(set, both("COMMAND LIST"))
    assert set(NAMES) <= {name.decode() for name in kraft_names & redis_names}
    for category in (
        "read",
        "write",
        "connection",
        "dangerous",
        "fast",
        "slow",
        "keyspace",
        "string",
        "bitmap",
        "admin",
    ):
        theirs, ours = map(set, both(f"COMMAND LIST FILTERBY ACLCAT {category}"))
        families = {b"client", b"config", b"cluster", b"command", b"object", b"memory"}
        leaves = {name.encode() for name in NAMES} - families
        assert ours & leaves == theirs & leaves, category


def test_no_command_of_redis_is_taken_for_a_mistyped_one(both):
    """Somebody who sends LSET has not mistyped MSET."""
    names = [name.decode() for name in both("COMMAND LIST")[0]]
    known = [name.decode().lower() for name in TABLE]
    others = [name for name in names if name not in known and "|" not in name]
    assert len(others) > 100
    assert {name: closest(name, known) for name in others if closest(name, known)} == {}


def test_client_list_has_the_fields_of_redis_in_its_order(both):
    redis_line, kraft_line = (_fields(reply.decode()) for reply in both("CLIENT LIST"))
    common = [name for name in kraft_line if name in redis_line]
    assert common == list(redis_line)
    for name, value in redis_line.items():
        assert bool(re.fullmatch(r"-?\d+", value)) == bool(re.fullmatch(r"-?\d+", kraft_line[name])), name
    same = ("name", "db", "sub", "psub", "ssub", "multi", "flags", "events", "cmd", "user", "redir", "resp")
    assert {name: kraft_line[name] for name in same} == {name: redis_line[name] for name in same}
    assert int(kraft_line["fd"]) > 2


def _fields(text):
    return dict(field.split("=", 1) for field in text.splitlines()[-1].split(" "))


def test_info_has_the_sections_of_redis_in_its_order(both):
    for section in ("", " everything", " all", " default", " stats cpu", " commandstats stats"):
        theirs, ours = (re.findall(rb"^# (\w+)", reply, re.MULTILINE) for reply in both(f"INFO{section}"))
        assert sorted(ours) == sorted(set(theirs) | ({b"Modules"} & set(ours))), section


def test_the_counters_of_info_have_the_form_of_redis(both):
    """Each line of these sections, with the numbers left out."""
    for section in ("commandstats", "errorstats", "latencystats"):
        replies = both("CONFIG RESETSTAT", "GET p:x", "SET p:x 1", "GET", "INCR p:x y", f"INFO {section}")
        theirs, ours = (re.sub(rb"=[\d.]+", b"=N", reply).splitlines() for reply in replies)
        assert {line for line in theirs if b"incr" not in line} <= set(ours)


def test_info_has_the_numbers_that_monitoring_reads(both):
    wanted = (
        "instantaneous_ops_per_sec", "instantaneous_input_kbps", "instantaneous_output_kbps", "keyspace_hits",
        "keyspace_misses", "total_commands_processed", "total_error_replies", "expired_keys", "evicted_keys",
        "used_memory", "used_memory_human", "used_memory_rss", "used_memory_peak", "used_memory_peak_perc",
        "total_system_memory_human", "maxmemory", "maxmemory_human", "mem_fragmentation_ratio",
        "connected_clients", "blocked_clients", "used_cpu_sys", "role", "connected_slaves",
    )  # fmt: skip
    theirs, ours = (
        dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)
        for reply in both("INFO all")
    )
    for name in wanted:
        assert _form(ours[name]) == _form(theirs[name]), name


def _form(value):
    """A value with N for its number, without its unit."""
    return re.sub(r"\d[\d.]*", "N", value).rstrip("BKMGT")


@pytest.mark.parametrize("name", ["LATENCY LATEST", "SLOWLOG GET", "MONITOR", "PFADD a b"])
def test_what_kraft_does_not_have_is_a_clear_error(both, name):
    _, reply = both(name)
    assert isinstance(reply, Refusal)
    assert reply.startswith(f"ERR unknown command '{name.split()[0]}'")
