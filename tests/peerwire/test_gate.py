"""The gate: what no correct replica sends never reaches the core, or a host."""

from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from msgspec.structs import replace

from kraft.config.loader import kind_of, options
from kraft.config.values import MIB, LimitsConfig, SnapshotConfig
from kraft.kv.checkpoint import HASH_BYTES
from kraft.peerwire.codec import (
    ADMIN_BYTES_MAX,
    CONFIGURATION_BYTES_MAX,
    GROUP_MAX,
    GROUPS_MAX,
    KEY_BYTES_MAX,
    KIND_MAX,
    NUMBER_MAX,
    SUM_BYTES,
    decode,
    encode,
)
from kraft.peerwire.errors import WireError
from kraft.peerwire.frames import CHUNK_BYTES_MAX, MESSAGE_BYTES_MAX
from kraft.peerwire.messages import (
    HOLDERS_MAX,
    NOT_PROPOSED,
    NOT_READ,
    READ,
    TOO_MUCH,
    Admin,
    AdminReply,
    Beat,
    Digest,
    Dismissal,
    Fence,
    Forward,
    ForwardReply,
    GroupPlace,
    Invitation,
    LockQuestion,
    MembershipQuestion,
    NodeCondition,
    Numbered,
    QueryKeys,
    ReadIndex,
    ReadIndexReply,
    ReadKeys,
    ReadKeysReply,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotRequest,
)
from kraft.raft.membership.configuration import (
    MEMBERS_MAX,
    NOBODY,
    RETIRED_MAX,
    TEXT_MAX,
    Base,
    Configuration,
    Joining,
    Member,
)
from kraft.raft.membership.replica_number import UNNUMBERED, ReplicaNumber
from kraft.raft.messages import (
    Append,
    AppendReply,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from tests.peerwire.strategies import CONFIGURATIONS, member

TWO = Configuration.of_voters((member("a"), member("b")))
WITH_LEARNER = Configuration(TWO.members, ("a",), ("b",), (Joining("b", "a"),), ("gone",))
BASE = Base(9, 3, 1000, 4, TWO)
SUM = bytes(SUM_BYTES)
OFFER = SnapshotOffer(BASE, 7, 2, 20, SUM)
ROWS = b"rows"
CHUNK = SnapshotChunk(9, 3, b"a", ROWS, crc32(ROWS), b"b", False)
INVITATION = Invitation("c" * 32, TWO.members, 1)
SECOND = ReplicaNumber(2, 7)
BEAT = Beat(1, 1, 1, 0, 1, 0, 1000, ((3, 2, 9),), (4,))


def entries(*fields):
    return tuple(Entry(index, term, stamp, kind, b"") for index, term, stamp, kind in fields)


def logged(kind, data):
    """An Append of one entry."""
    return Append(1, 0, 0, 0, (Entry(1, 1, 0, int(kind), data),))


def configured(configuration):
    return logged(EntryKind.CONFIGURATION, configuration.encode())


def with_number(number):
    """A configuration with a replica that has this number."""
    one, other = TWO.members
    return replace(TWO, members=(one, replace(other, incarnation=other.incarnation + number)))


def passes(message):
    return decode(encode([(0, message)])) == [(0, message)]


@pytest.mark.parametrize(
    "message",
    [
        Vote(0, 0, 0),
        Vote(3, 5, 3),
        Vote(-1, 0, 0),
        PreVote(1, -1, 0),
        PreVoteReply(-1, True),
        VoteReply(1, True, -5),
        VoteReply(NUMBER_MAX + 1, True, 0),
        Heartbeat(0, 0, 0),
        Heartbeat(1, -1, 0),
        Heartbeat(1, 0, 0, -1),
        Heartbeat(1, 0, 0, NUMBER_MAX + 1),
        HeartbeatReply(1, 1, -1),
        TimeoutNow(0),
        TimeoutNow(NUMBER_MAX + 1),
        AppendReply(1, -1),
        AppendReply(1, 5, True, 6, 0),
        AppendReply(1, 5, True, 4, 2),
        Append(0, 0, 0, 0, ()),
        Append(1, 0, 2, 0, ()),
        Append(1, -1, 0, 0, ()),
        Append(1, 0, 0, -1, ()),
        Append(2, 5, 1, 0, entries((7, 2, 0, 0))),
        Append(2, 5, 1, 0, entries((6, 2, 0, 0), (8, 2, 0, 0))),
        Append(2, 5, 1, 0, entries((6, 2, 0, 0), (7, 1, 0, 0))),
        Append(2, 5, 2, 0, entries((6, 1, 0, 0))),
        Append(2, 5, 1, 0, entries((6, 3, 0, 0))),
        Append(2, 5, 1, 0, entries((6, 2, 9, 0), (7, 2, 8, 0))),
        Append(2, 5, 1, 0, entries((6, 2, -1, 0))),
        Append(2, 5, 1, 0, entries((6, 2, 0, 4))),
        Append(2, 5, 1, 0, entries((6, 2, 0, -1))),
        Append(2, 0, 0, 0, entries((1, 0, 0, 0))),
        Append(2, NUMBER_MAX, 1, 0, entries((NUMBER_MAX + 1, 2, 0, 0))),
        Forward(-1, 0, b""),
        Forward(0, -1, b""),
        ForwardReply(0, 3, b""),
        ForwardReply(0, NOT_PROPOSED, b"x"),
        ReadIndex(-1),
        ReadIndexReply(0, -1, 0),
        LockQuestion(()),
        LockQuestion((b"",)),
        LockQuestion((b"a" * (KEY_BYTES_MAX + 1),)),
        LockQuestion((b"a",) * (HOLDERS_MAX + 1)),
        replace(OFFER, revision=-1),
        replace(OFFER, keys=-1),
        replace(OFFER, size=NUMBER_MAX + 1),
        replace(OFFER, keys=0),
        replace(OFFER, sum=SUM[1:]),
        replace(OFFER, sum=SUM + b"x"),
        replace(OFFER, machine_version=0),
        replace(OFFER, machine_version=NUMBER_MAX + 1),
        replace(OFFER, base=replace(BASE, index=3)),
        replace(OFFER, base=replace(BASE, term=0)),
        replace(OFFER, base=replace(BASE, stamp=-1)),
        replace(OFFER, base=replace(BASE, configuration_index=0)),
        replace(OFFER, base=replace(BASE, configuration=NOBODY)),
        replace(OFFER, base=replace(BASE, configuration=with_number("#4.4"))),
        replace(OFFER, base=replace(BASE, configuration=with_number("#3.5"))),
        configured(with_number("#1.2")),
        configured(with_number("#2.1")),
        configured(with_number("#")),
        SnapshotRequest(0, 1, None),
        SnapshotRequest(1, 0, None),
        SnapshotRequest(1, NUMBER_MAX + 1, None),
        SnapshotRequest(1, 1, bytes(KEY_BYTES_MAX + 1)),
        replace(CHUNK, index=0),
        replace(CHUNK, term=-1),
        replace(CHUNK, checksum=CHUNK.checksum ^ 1),
        replace(CHUNK, rows=b"Rows"),
        replace(CHUNK, last=b"a"),
        replace(CHUNK, last=bytes(KEY_BYTES_MAX + 1)),
        replace(CHUNK, after=bytes(KEY_BYTES_MAX + 1)),
        replace(INVITATION, cluster=""),
        replace(INVITATION, cluster="c" * (TEXT_MAX + 1)),
        replace(INVITATION, cluster="c\n"),
        replace(INVITATION, founders=()),
        replace(INVITATION, founders=TWO.members[::-1]),
        replace(INVITATION, groups=0),
        replace(INVITATION, groups=GROUPS_MAX + 1),
        Admin(-1, 0, b"x"),
        Admin(0, -1, b"x"),
        Admin(0, 0, b""),
        Admin(0, 0, bytes(ADMIN_BYTES_MAX + 1)),
        AdminReply(-1, False, b""),
        AdminReply(0, False, bytes(ADMIN_BYTES_MAX + 1)),
        Digest(0, SUM),
        Digest(1, SUM[1:]),
        Fence(NUMBER_MAX + 1, SUM),
        Fence(1, b""),
        NodeCondition(-1),
        NodeCondition(NUMBER_MAX + 1),
        Numbered(Vote(0, 0, 0), SECOND, UNNUMBERED),
        Numbered(Vote(1, 0, 0), ReplicaNumber(-1, 7), UNNUMBERED),
        Numbered(Vote(1, 0, 0), SECOND, ReplicaNumber(2, NUMBER_MAX + 1)),
        MembershipQuestion(ReplicaNumber(0, -1)),
        Dismissal(ReplicaNumber(NUMBER_MAX + 1, 1)),
        GroupPlace(0, 1, "K1", ("K1",), 7),
        GroupPlace(1, 0, "K1", ("K1",), 7),
        GroupPlace(1, 1, "", ("K1",), 7),
        GroupPlace(1, 1, "K1", (), 7),
        GroupPlace(1, 1, "K1", ("K1", "a\nb"), 7),
        GroupPlace(1, 1, "K1", ("K1",) * (2 * MEMBERS_MAX + 1), 7),
        GroupPlace(1, 1, "K1", ("K1",), 0),
        GroupPlace(1, 1, "K1", ("K1",), 7, ("K2",)),
        GroupPlace(1, 1, "K1", ("K1",), 7, ("K1",), (Joining("K2"),)),
        GroupPlace(1, 1, "K1", ("K1",), 7, ("K1",), (Joining("K1", "a" * (TEXT_MAX + 1)),)),
        ReadKeys(-1, (), 0),
        ReadKeys(1, (b"a",), 2),
        ReadKeys(1, (b"a",), -1),
        ReadKeys(1, (b"a" * (KEY_BYTES_MAX + 1),), 0),
        ReadKeys(1, (0,), 0),
        ReadKeys(1, (KIND_MAX + 1,), 0),
        ReadKeys(1, (2,), 1, rows=(b"",)),
        ReadKeys(1, (2,), 1, rows=(b"\2" * (KEY_BYTES_MAX + 1),)),
        QueryKeys(1, b""),
        QueryKeys(NUMBER_MAX + 1, b"a"),
        ReadKeysReply(1, READ, b""),
        ReadKeysReply(1, NOT_READ, b"a"),
        ReadKeysReply(1, TOO_MUCH + 1, b""),
        ReadKeysReply(-1, NOT_READ, b""),
        replace(BEAT, epoch=-1),
        replace(BEAT, wall_ms=NUMBER_MAX + 1),
        replace(BEAT, changes=((GROUP_MAX + 1, 1, 1),)),
        replace(BEAT, changes=((0, -1, 1),)),
        replace(BEAT, changes=((0, 1, NUMBER_MAX + 1),)),
        replace(BEAT, changes=((0, 1, 1),) * (GROUPS_MAX + 1)),
        replace(BEAT, awake=(-1,)),
        replace(BEAT, awake=(0,) * (GROUPS_MAX + 1)),
    ],
)
def test_impossible_messages_stop_at_the_gate(message):
    """Numbers that cannot be, texts and bytes that are too long, sums and checksums that are wrong."""
    with pytest.raises(WireError, match=type(message).__name__):
        decode(encode([(0, message)]))


@pytest.mark.parametrize(
    "message",
    [
        OFFER,
        replace(OFFER, keys=0, size=0),
        replace(OFFER, base=replace(BASE, index=4)),
        SnapshotRequest(1, 1, bytes(KEY_BYTES_MAX)),
        CHUNK,
        replace(CHUNK, after=None, last=b"", end=True),
        replace(CHUNK, rows=b"", checksum=0, last=b"", end=True),
        INVITATION,
        replace(INVITATION, groups=GROUPS_MAX),
        Admin(0, 0, bytes(ADMIN_BYTES_MAX)),
        AdminReply(0, True, bytes(ADMIN_BYTES_MAX)),
        configured(WITH_LEARNER),
        configured(replace(TWO, target=WITH_LEARNER)),
        configured(with_number("#1.1")),
        replace(OFFER, base=replace(BASE, configuration=with_number("#3.4"))),
        logged(EntryKind.MARKER, b""),
        logged(EntryKind.VERSION, b"1"),
        logged(EntryKind.VERSION, b"%d" % NUMBER_MAX),
        replace(OFFER, machine_version=NUMBER_MAX),
    ],
)
def test_what_is_just_possible_passes(message):
    """At each bound, and at the ends of a snapshot."""
    assert passes(message)


@pytest.mark.parametrize("kind", [EntryKind.NOOP, EntryKind.MARKER])
def test_entries_that_hold_nothing_hold_nothing(kind):
    """A marker or a no-op with data is of no version that we know."""
    with pytest.raises(WireError, match="Append"):
        decode(encode([(0, logged(kind, b"x"))]))


@pytest.mark.parametrize("data", [b"", b"0", b"-1", b"02", b"x", b"\xc0"])
def test_a_version_is_a_positive_number(data):
    """Anything else would stop the group on every replica."""
    with pytest.raises(WireError, match="Append"):
        decode(encode([(0, logged(EntryKind.VERSION, data))]))


NESTED = replace(TWO, target=replace(TWO, target=TWO))
MANY = tuple(Member(f"n{n:02}", f"{n:032}", f"h{n}:1") for n in range(MEMBERS_MAX + 1))


@pytest.mark.parametrize(
    ("configuration", "fault"),
    [
        (NOBODY, "nobody votes"),
        (replace(TWO, voters=()), "nobody votes"),
        (replace(TWO, members=TWO.members[::-1]), "order of their ids"),
        (replace(TWO, members=(member("a"), member("a"))), "order of their ids"),
        (replace(TWO, voters=("b", "a")), "not in order"),
        (replace(TWO, voters=("a", "a", "b")), "not in order"),
        (replace(TWO, voters=("a",)), "either a voter or a learner"),
        (replace(TWO, voters=("a", "b", "c")), "either a voter or a learner"),
        (replace(TWO, learners=("a",)), "either a voter or a learner"),
        (replace(TWO, learners=("c",)), "either a voter or a learner"),
        (replace(TWO, joining=(Joining("a"),)), "is no learner"),
        (replace(WITH_LEARNER, joining=(Joining("b", "b"),)), "in place of itself"),
        (replace(WITH_LEARNER, joining=(Joining("b"), Joining("b", "a"))), "joining members are not"),
        (replace(WITH_LEARNER, joining=(Joining("b", "x" * (TEXT_MAX + 1)),)), "too long"),
        (replace(TWO, retired=("x", "x")), "retired twice"),
        (replace(TWO, retired=("",)), "empty or too long"),
        (replace(TWO, retired=("x" * (TEXT_MAX + 1),)), "empty or too long"),
        (replace(TWO, retired=tuple(f"{n}" for n in range(RETIRED_MAX + 1))), "retired incarnations"),
        (replace(TWO, retired=("a" * 32,)), "has a retired incarnation"),
        (Configuration.of_voters((Member("", "x", "h:1"),)), "without id"),
        (Configuration.of_voters((Member("a", "", "h:1"),)), "without id or incarnation"),
        (Configuration.of_voters((Member("a", "x", "h" * (TEXT_MAX + 1)),)), "too long"),
        (Configuration.of_voters((Member("a", "x\n", "h:1"),)), "control characters"),
        (Configuration.of_voters(MANY), "more than 64 members"),
        (NESTED, "the target has a target"),
        (replace(TWO, target=NOBODY), "target: nobody votes"),
        (replace(TWO, retired=("x",), target=TWO), "forgets a retired incarnation"),
    ],
)
def test_a_malformed_configuration_is_refused(configuration, fault):
    """By itself, in an entry and in an offer."""
    assert fault in (configuration.fault() or "")
    offer = replace(OFFER, base=replace(BASE, configuration=configuration))
    for message in (configured(configuration), offer):
        with pytest.raises(WireError, match="impossible"):
            decode(encode([(0, message)]))


@given(CONFIGURATIONS)
def test_sound_configurations_have_no_fault(configuration):
    """Settled and joint ones, with everything that can be in them."""
    assert configuration.fault() is None


def test_the_largest_configuration_passes():
    """The bounds leave room for one another."""
    retired = tuple(sorted(f"{n:032x}" for n in range(RETIRED_MAX)))
    largest = Configuration.of_voters(
        tuple(Member("n" * 60 + f"{n:02}", "f" * 30 + f"{n:02}", "h" * 250 + f":{n}") for n in range(64))
    )
    largest = replace(largest, retired=retired)
    largest = replace(largest, target=largest)

    assert len(largest.encode()) < CONFIGURATION_BYTES_MAX / 2
    assert passes(configured(largest))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        b"\xc0",
        msgspec.msgpack.encode([[], []]) + b"x",
        msgspec.msgpack.encode([[["a", 1, "h:1"]], ["a"]]),
        b"\x92\x91\x93\xa1\xff\xa1x\xa1h\x91\xa1a",  # an id that is not UTF-8
        b"\x96\x90\x90\x90\x90\x90" * 100_000,  # targets of targets
        TWO.encode() + bytes(CONFIGURATION_BYTES_MAX),
    ],
)
def test_a_configuration_entry_that_does_not_decode_is_refused(data):
    """Before it gets into a log, where it would stop the group on every replica."""
    with pytest.raises(WireError, match="Append"):
        decode(encode([(0, logged(EntryKind.CONFIGURATION, data))]))


def test_only_configuration_entries_are_looked_into():
    """Commands are opaque here."""
    assert passes(logged(EntryKind.COMMANDS, b"garbage"))


def test_bounds_agree_with_those_of_others():
    """What can be configured can be sent, and what is summed elsewhere has the size expected here."""
    most = {
        option.name: getattr(kind_of(hint), "most", 0)
        for section in (LimitsConfig, SnapshotConfig)
        for option, hint in options(section)
        if option.name in ("key_bytes", "value_bytes", "request_bytes", "chunk_bytes")
    }

    assert SUM_BYTES == HASH_BYTES
    assert most["key_bytes"] == KEY_BYTES_MAX
    assert most["chunk_bytes"] + most["key_bytes"] + most["value_bytes"] + MIB <= CHUNK_BYTES_MAX
    assert most["request_bytes"] + MIB <= MESSAGE_BYTES_MAX
