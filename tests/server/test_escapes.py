"""A user never learns or changes what its rights exclude, whatever it sends.

Two worlds differ only in the values of keys that the user may not read. It sends the same to both: then all
that it can see has to be the same in both, and keys that it may not write are as they were. Nothing here
knows how rights are checked.
"""

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kraft.config.values import UsersConfig
from kraft.server.commands.spec import AnySpec
from kraft.server.commands.table import TABLE
from tests.cluster.redis_sequences import KEYS, READS, VALUES, WRITES
from tests.server.fakes import Port, Talk

NAMES = (b"a", b"b", b"c", b"{a}1")
ACCESS = ("", "%R~", "%W~", "~")
LIBRARY = b"#!lua name=l\nredis.register_function('f', function(k, a) return redis.call(unpack(a)) end)"
SCRIPT = b"return redis.call(unpack(ARGV))"
NUMBERS = st.sampled_from([b"1", b"2", b"3", b"1000", b"x"])

OWN = st.one_of(
    st.tuples(st.just(b"KRAFT"), st.just(b"REV"), KEYS),
    st.tuples(st.just(b"KRAFT"), st.just(b"CAS"), KEYS, NUMBERS, VALUES),
    st.tuples(st.just(b"KRAFT"), st.just(b"LOCK"), KEYS, st.just(b"100000"), st.just(b"OWNER"), VALUES),
    st.tuples(st.just(b"KRAFT"), st.just(b"LOCK"), KEYS, st.just(b"100000"), st.just(b"WAIT"), st.just(b"0")),
    st.tuples(st.just(b"KRAFT"), st.sampled_from([b"UNLOCK"]), KEYS, NUMBERS),
    st.tuples(st.just(b"KRAFT"), st.just(b"EXTEND"), KEYS, NUMBERS, st.just(b"100000")),
    st.tuples(st.just(b"KRAFT"), st.just(b"RANGE"), KEYS, KEYS),
    st.tuples(st.just(b"KRAFT"), st.just(b"RANGE"), st.just(b"PREFIX"), KEYS, st.just(b"REV")),
    st.tuples(st.sampled_from([b"DIGEST", b"DELEX", b"kvstore-get"]), KEYS),
    st.tuples(st.just(b"DELEX"), KEYS, st.sampled_from([b"IFEQ", b"IFNE"]), VALUES),
    st.tuples(st.just(b"DELIFEQ"), KEYS, VALUES),
    st.tuples(st.just(b"SET"), KEYS, VALUES, st.sampled_from([b"IFEQ", b"IFNE", b"IFDEQ"]), VALUES),
    st.tuples(st.just(b"MSETEX"), st.just(b"2"), KEYS, VALUES, KEYS, VALUES),
    st.tuples(st.just(b"kvstore-set"), KEYS, VALUES),
    st.tuples(st.just(b"MEMORY"), st.just(b"USAGE"), KEYS),
    st.tuples(st.just(b"CLUSTER"), st.just(b"GETKEYSINSLOT"), st.just(b"15495"), st.just(b"9")),
    st.tuples(st.just(b"WATCH"), KEYS),
)
PREFIXES = st.one_of(
    st.just([]),
    st.tuples(st.just(b"KRAFT"), st.just(b"ONCE"), st.sampled_from([b"t", b"u", b"v"])),
    st.tuples(st.just(b"KRAFT"), st.just(b"GUARD"), KEYS, NUMBERS),
    st.just((b"EVAL", SCRIPT, b"0")),
    st.tuples(st.just(b"EVAL"), st.just(SCRIPT), st.just(b"1"), KEYS),
    st.just((b"EVAL_RO", SCRIPT, b"0")),
    st.just((b"FCALL", b"f", b"0")),
    st.just((b"KRAFT", b"ONCE", b"w", b"EVAL", SCRIPT, b"0")),
    st.builds(lambda key, token: (b"KRAFT", b"GUARD", key, token, b"EVAL", SCRIPT, b"0"), KEYS, NUMBERS),
)
_HARMLESS = {b"FLUSHALL", b"FLUSHDB"}  # they name no key: their own right decides
REQUESTS = st.builds(
    lambda prefix, words: [*prefix, *words],
    PREFIXES,
    st.one_of(WRITES, READS, OWN).filter(lambda words: words[0].upper() not in _HARMLESS),
)


@dataclass
class World:
    """A port with secrets, an administrator and a user of some rights."""

    port: Port
    admin: Talk
    user: Talk

    @classmethod
    def of(cls, rights: dict[bytes, str], fill: bytes) -> "World":
        port = Port(users=UsersConfig(slow_hash=False))
        admin = port.connect()
        admin.run("FUNCTION", "LOAD", LIBRARY)
        for name in NAMES:
            readable = rights[name] in ("~", "%R~")
            admin.run("SET", name, (b"r" if readable else fill) * 12)
        patterns = [access.encode() + name for name, access in rights.items() if access]
        admin.run("ACL", "SETUSER", "u", "on", "nopass", "+@all", "-flushall", "-flushdb", *patterns)
        user = port.connect()
        assert user.run("AUTH", "u", "x") == b"+OK\r\n"
        return cls(port, admin, user)

    def values(self, names: list[bytes]) -> list[object]:
        records = self.port.host.machines[0].keyspace.records
        return [(records[name].value, records[name].expires) if name in records else None for name in names]


RIGHTS = st.fixed_dictionaries({name: st.sampled_from(ACCESS) for name in NAMES})


@settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(RIGHTS, st.lists(REQUESTS, min_size=10, max_size=40), st.booleans())
def test_what_a_user_sees_and_changes_is_within_its_rights(rights, requests, multi):
    worlds = [World.of(rights, b"x"), World.of(rights, b"y")]
    fixed = [name for name in NAMES if rights[name] not in ("~", "%W~")]
    seen = [name for name in NAMES if rights[name] in ("~", "%R~")]
    before = [world.values(fixed) for world in worlds]
    for request in requests:
        asked = [[b"MULTI"], request, [b"EXEC"]] if multi else [request]
        replies = [[world.user.run(*words) for words in asked] for world in worlds]
        assert replies[0] == replies[1], request
        assert [world.values(fixed) for world in worlds] == before, request
        assert worlds[0].values(seen) == worlds[1].values(seen), request


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(RIGHTS, st.lists(REQUESTS, min_size=1, max_size=12), st.lists(REQUESTS, max_size=6), st.booleans())
def test_a_right_that_was_taken_away_is_of_no_use_to_what_is_queued(rights, queued, later, watch):
    """The worlds are the same until the rights are taken away; then keys change in one of them."""
    worlds = [World.of(dict.fromkeys(NAMES, "~"), b"s") for _ in range(2)]
    hidden = ("",) if watch else ("", "%W~")  # with any right on a key a client may watch it, as in Redis
    fixed = [name for name in NAMES if rights[name] not in ("~", "%W~")]
    for world in worlds:
        if watch:
            world.user.run("WATCH", *NAMES)
        for words in ([b"MULTI"], *queued):
            world.user.run(*words)
        patterns = [access.encode() + name for name, access in rights.items() if access]
        world.admin.run("ACL", "SETUSER", "u", "resetkeys", *patterns)
    for name in NAMES:
        if rights[name] in hidden:
            worlds[0].admin.run("SET", name, b"x" * 12)  # as long as before, since lengths may be seen
    before = [world.values(fixed) for world in worlds]
    for words in ([b"EXEC"], *later):
        replies = [world.user.run(*words) for world in worlds]
        assert replies[0] == replies[1], words
        assert [world.values(fixed) for world in worlds] == before, words


def _specs(specs: list[AnySpec]) -> list[AnySpec]:
    found: list[AnySpec] = []
    for spec in specs:
        found += [spec, *_specs(list(spec.subcommands.values())), *_specs(list(spec.variants.values()))]
    return found


def test_every_command_with_keys_says_what_becomes_of_them():
    """Else a request would need no right at all."""
    for spec in _specs(list(TABLE.values())):
        if not spec.keyless and spec.inner is None:
            assert spec.needs, spec.name


def test_every_command_that_changes_keys_needs_to_write_one():
    for spec in _specs(list(TABLE.values())):
        if "write" in spec.flags and not spec.keyless and spec.inner is None:
            assert any(need & 2 for need in spec.needs) or spec.name in ("kraft|guard",), spec.name


def test_every_variant_of_a_prefix_names_the_command_in_it():
    for spec in _specs(list(TABLE.values())):
        if spec.name in ("kraft|once", "kraft|guard") and not spec.variants and spec.variant_places == ():
            assert spec.inner is not None, spec
