"""The same users to redis-server and to kraft's client port: errors, descriptions and rights equal.

Differences that are meant are in docs/redis-differences.md: above all, kraft shows rules on commands in their
order, so what they allow is compared, by ACL DRYRUN of many requests.
"""

from contextlib import closing
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kraft.acl.catalog import CATEGORIES as ACL_CATEGORIES
from kraft.config.values import UsersConfig
from kraft.server.commands.table import TABLE
from tests.cluster.redis_server import NUMBER, Exchange
from tests.server.fakes import Port, Talk, encode

pytestmark = pytest.mark.slow

SPECIAL = [
    "SET a v", "SET a v GET", "set b v get", "SET b v NX", "BITFIELD a", "BITFIELD a GET u8 0",
    "BITFIELD b SET u8 0 1", "COPY a b", "COPY b a", "RENAME a b", "RENAMENX b a", "MSET a 1 b 2",
    "MGET a b", "BITOP AND a b", "BITOP AND b a app:1", "EVAL x 0", "EVAL x 1 a", "EVAL_RO x 2 a b",
    "FCALL f 1 b", "FCALL_RO f 1 app:1", "LCS a b", "DEL a b", "EXISTS a b", "TOUCH b",
    "OBJECT ENCODING a", "MEMORY USAGE b", "DUMP a", "RESTORE b 0 x", "GETDEL a", "GETEX a",
    "GETEX b PERSIST", "APPEND a x", "SETRANGE b 0 x", "WATCH a", "SELECT 0", "SELECT 1", "PING",
    "ECHO x", "SCAN 0", "KEYS *", "RANDOMKEY", "DBSIZE", "FLUSHALL", "CLIENT ID", "CLIENT KILL x",
    "CLIENT LIST", "CONFIG GET x", "CONFIG RESETSTAT", "INFO", "ACL WHOAMI", "ACL LIST", "MULTI",
    "EXEC", "DISCARD", "UNWATCH", "AUTH x", "HELLO", "QUIT", "RESET", "SCRIPT FLUSH", "SCRIPT LOAD x",
    "FUNCTION LIST", "FUNCTION LOAD x", "COMMAND", "COMMAND COUNT", "CLUSTER INFO", "READONLY", "ROLE",
    "TIME", "WAIT 0 0", "STRLEN a", "TTL app:1", "EXPIRE app:1 5", "TYPE b", "GETRANGE a 0 1",
    "INCRBYFLOAT b 1",
]  # fmt: skip
REQUESTS = [request.split() for request in SPECIAL]
NAMES = sorted({words[0].lower() for words in REQUESTS if words[0].encode().upper() in TABLE})
SUBCOMMANDS = ("config|get", "config|resetstat", "client|list", "client|id", "acl|whoami", "script|load")
CATEGORIES = (
    "read", "write", "fast", "slow", "admin", "dangerous", "keyspace", "string", "bitmap", "connection",
    "transaction", "scripting", "list", "pubsub", "nosuch", "ALL", "Read",
)  # fmt: skip
SIGNS = st.sampled_from("+-")
COMMAND_RULES = st.one_of(
    st.tuples(SIGNS, st.sampled_from(NAMES)).map("".join),
    st.tuples(SIGNS, st.sampled_from(SUBCOMMANDS)).map("".join),
    st.tuples(SIGNS, st.just("@"), st.sampled_from(CATEGORIES)).map("".join),
    st.sampled_from(
        ["+@all", "-@all", "allcommands", "NOCOMMANDS", "+select|0", "+select|1", "-select|0", "+nosuch",
         "+config|nosuch", "+config|get|x", "+select|", "+GET", "-Client"]
    ),
)  # fmt: skip
KEY_RULES = st.sampled_from(
    ["~a", "~b", "~*", "~app:*", "%R~a", "%W~a", "%R~*", "%W~app:*", "%RW~b", "%rw~a", "%WR~b", "allkeys",
     "resetkeys", "~[ab]", "~?", "~\\a", "~", "%X~a", "%", "&x", "&*", "&x*", "allchannels", "resetchannels"]
)  # fmt: skip
USER_RULES = st.sampled_from(
    ["on", "off", "ON", "nopass", "resetpass", "reset", ">p", ">q", "<p", "<q", "sanitize-payload", "",
     "skip-sanitize-payload", "#" + "a" * 64, "!" + "a" * 64, "#abc", "!abc", "clearselectors", "nosuch",
     "(on)"]
)  # fmt: skip
SELECTORS = st.lists(st.one_of(COMMAND_RULES, KEY_RULES), max_size=4).map(
    lambda rules: f"({' '.join(rules)})"
)
OF_KEYS = st.lists(KEY_RULES, max_size=4).map(lambda rules: f"({' '.join(rules)})")
RULES = st.one_of(COMMAND_RULES, COMMAND_RULES, KEY_RULES, KEY_RULES, USER_RULES, SELECTORS, st.just("(+get"))


@pytest.fixture(scope="module")
def redis(redis_port):
    """A connection to a redis-server."""
    with closing(Exchange(redis_port)) as client:
        yield client


class Kraft:
    """A connection to a client port, and one of an administrator. The clock runs while a login is refused."""

    def __init__(self) -> None:
        self._port = Port(users=UsersConfig(slow_hash=False))
        self._talk, self._admin = self._port.connect(), self._port.connect()

    def ask(self, request: bytes) -> bytes:
        return self._asked(self._talk, request)

    def admin(self, request: bytes) -> bytes:
        return self._asked(self._admin, request)

    def _asked(self, talk: Talk, request: bytes) -> bytes:
        reply = talk.ask(request)
        while not reply:
            self._port.clock.advance(0.1)
            self._port.settle()
            reply = talk.read()
        return reply


def _fields(reply: bytes) -> list[bytes]:
    """What ACL GETUSER says, without the rules on commands."""
    return [line for line in reply.split(b"\r\n") if line[:5] not in (b"+@all", b"-@all")]


def _without_lengths(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if not line.startswith(b"$")]


@example([["+@all", "-@dangerous", "~app:*"]])
@example([["+client", "-client|list"], ["+@slow"], ["-@fast"]])
@example([["+@all", "(+get", "~a)", "(%R~b", "+@read)"]])
@example([["on", ">p", "~a", "+get"], ["~*"], ["~b"]])
@settings(max_examples=NUMBER, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(st.lists(st.lists(RULES, min_size=1, max_size=5), min_size=1, max_size=4))
def test_users_are_those_of_redis(redis, sequence):
    kraft = Kraft()
    redis.ask(encode("ACL", "DELUSER", "u"))

    def both(*words):
        return [server.ask(encode(*words)) for server in (redis, kraft)]

    for rules in sequence:
        theirs, ours = both("ACL", "SETUSER", "u", *rules)
        assert ours == theirs, rules
    theirs, ours = both("ACL", "GETUSER", "u")
    assert _without_lengths(_fields(ours)) == _without_lengths(_fields(theirs))
    for request in REQUESTS:
        theirs, ours = both("ACL", "DRYRUN", "u", *request)
        assert ours == theirs, (sequence, request)


LOGINS = [
    ["AUTH", "u", "p"], ["AUTH", "u", "q"], ["AUTH", "nobody", "p"], ["AUTH", "default", "x"],
    ["AUTH", "u", "p", "x"], ["AUTH"], ["HELLO", "2", "AUTH", "u", "p"],
    ["HELLO", "2", "AUTH", "u", "no"], ["ACL", "WHOAMI"], ["GET", "a"], ["SET", "a", "1"], ["PING"],
    ["RESET"], ["NOSUCH"], ["CONFIG", "NOSUCH"], ["MULTI"], ["EXEC"], ["DISCARD"], ["ACL", "SETUSER"],
    ["ACL", "NOSUCH"], ["ACL", "GENPASS", "0"], ["ACL", "CAT", "nosuch"], ["ACL", "DELUSER", "default"],
    ["ACL", "GETUSER", "nobody"], ["ACL", "LOG", "x"], ["ACL", "DRYRUN", "nobody", "GET", "a"],
    ["ACL", "SETUSER", "a b"],
]  # fmt: skip


def _comparable(words: list[str], reply: bytes) -> bytes:
    """HELLO tells the version and the id, and a family's unknown subcommand gets advice."""
    if words[0] == "HELLO" and not reply.startswith(b"-"):
        return reply[:1]
    return reply.partition(b" Did you mean")[0].partition(b"- did you mean")[0].rstrip()


@settings(max_examples=NUMBER, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(
    st.lists(st.one_of(COMMAND_RULES, KEY_RULES), max_size=5),
    st.lists(st.sampled_from(LOGINS), min_size=1, max_size=12),
)
def test_what_a_connection_may_do_is_as_in_redis(redis_port, rules, asked):
    kraft = Kraft()
    with closing(Exchange(redis_port)) as redis:
        redis.ask(encode("ACL", "DELUSER", "u"))
        redis.ask(encode("DEL", "a"))
        for words in (
            ["ACL", "SETUSER", "u", "on", ">p"],
            *(["ACL", "SETUSER", "u", rule] for rule in rules),
        ):
            assert redis.ask(encode(*words)) == kraft.ask(encode(*words)), words
        multi = False
        for words in asked:
            if multi and words[0] in ("ACL", "AUTH", "HELLO"):
                continue  # kraft takes none of these into a transaction
            theirs, ours = (server.ask(encode(*words)) for server in (redis, kraft))
            assert _comparable(words, ours) == _comparable(words, theirs), (rules, words)
            multi = (multi or words == ["MULTI"]) and words not in (["EXEC"], ["DISCARD"], ["RESET"])


def test_categories_are_those_of_redis(redis):
    """Of the commands that both have; kraft's table says them by flags and groups, Redis's by command."""
    kraft = Kraft()
    theirs: dict[str, set[bytes]] = {}
    ours: dict[str, set[bytes]] = {}
    for category in (name for name in ACL_CATEGORIES if name != "kraft"):
        theirs[category], ours[category] = (
            set(server.ask(encode("ACL", "CAT", category)).split(b"\r\n")[2::2]) for server in (redis, kraft)
        )
    known = set().union(*theirs.values()) & set().union(*ours.values())
    for category in theirs:
        assert ours[category] & known == theirs[category] & known, category


@settings(max_examples=NUMBER // 2, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(st.lists(st.one_of(KEY_RULES, KEY_RULES, USER_RULES, OF_KEYS), max_size=8), st.sampled_from("23"))
def test_users_are_shown_as_by_redis(redis_port, rules, protocol):
    """ACL GETUSER, LIST and USERS to the byte, in both protocols; the commands are -@all."""
    kraft = Kraft()
    with closing(Exchange(redis_port)) as redis:
        redis.ask(encode("ACL", "DELUSER", "u"))
        for server in (redis, kraft):
            server.ask(encode("HELLO", protocol))
        for rule in ("reset", *rules, "nocommands"):
            theirs, ours = (server.ask(encode("ACL", "SETUSER", "u", rule)) for server in (redis, kraft))
            assert ours == theirs, rule
        shown = [
            [server.ask(encode("ACL", *words)) for words in (["GETUSER", "u"], ["LIST"], ["USERS"])]
            for server in (redis, kraft)
        ]
        assert shown[1] == shown[0]


ASKED = [
    ["GET", "a"], ["SET", "a", "1"], ["SET", "a", "1", "GET"], ["MGET", "a", "b"], ["COPY", "a", "b"],
    ["DEL", "b"], ["CLIENT", "GETNAME"], ["CONFIG", "GET", "x"], ["SELECT", "0"], ["NOSUCH"], ["MULTI"],
    ["EXEC"], ["DISCARD"], ["WATCH", "a"], ["UNWATCH"], ["PING"],
    ["EVAL", "return redis.pcall('get', 'a')", "0"],
    ["EVAL", "return redis.pcall('del', KEYS[1])", "1", "b"],
]  # fmt: skip
FIELDS = (b"count", b"reason", b"context", b"object", b"username")


def _logged(reply: bytes) -> list[bytes]:
    """The lines of ACL LOG after those of FIELDS."""
    lines = [line for line in reply.split(b"\r\n") if line[:1] not in (b"$", b"*")]
    return [after for line, after in pairwise(lines) if line in FIELDS]


@settings(max_examples=NUMBER // 2, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(
    st.lists(st.one_of(COMMAND_RULES, COMMAND_RULES, KEY_RULES), max_size=5),
    st.lists(st.one_of(st.sampled_from(ASKED), COMMAND_RULES, KEY_RULES), min_size=1, max_size=14),
)
def test_what_is_refused_is_logged_as_by_redis(redis_port, rules, asked):
    """Rights change between the commands of the user, also while a transaction is queued."""
    kraft, root = Kraft(), ["ACL", "SETUSER", "u"]
    with closing(Exchange(redis_port)) as redis, closing(Exchange(redis_port)) as admin:
        for words in (["ACL", "DELUSER", "u"], ["ACL", "LOG", "RESET"], ["DEL", "a", "b"]):
            admin.ask(encode(*words))
        for words in ([*root, "on", "nopass"], *([*root, rule] for rule in rules)):
            assert kraft.admin(encode(*words)) == admin.ask(encode(*words)), words
        queued = False
        for words in (["AUTH", "u", "x"], *asked):
            if isinstance(words, str):
                assert kraft.admin(encode(*root, words)) == admin.ask(encode(*root, words)), words
                continue
            if queued and words[0] == "WATCH":
                continue
            theirs, ours = (server.ask(encode(*words)) for server in (redis, kraft))
            assert _comparable(words, ours) == _comparable(words, theirs), (rules, words)
            queued = (
                ours == b"+OK\r\n" if words == ["MULTI"] else queued and words[0] not in ("EXEC", "DISCARD")
            )
        theirs, ours = admin.ask(encode("ACL", "LOG")), kraft.admin(encode("ACL", "LOG"))
        assert _logged(ours) == _logged(theirs)
