"""Every message that a correct peer could send, for property tests."""

from typing import get_args
from zlib import crc32

from hypothesis import strategies as st

from kraft.peerwire.codec import GROUP_MAX, GROUPS_MAX, KIND_MAX, NUMBER_MAX, SUM_BYTES
from kraft.peerwire.messages import (
    DONE,
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
    ReplicaMessage,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotRequest,
    WaitingForward,
)
from kraft.raft.membership.configuration import Base, Configuration, Joining, Member
from kraft.raft.membership.replica_number import ReplicaNumber
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

NUMBER = st.integers(0, NUMBER_MAX)
TERM = st.integers(1, NUMBER_MAX)
SUM = st.binary(min_size=SUM_BYTES, max_size=SUM_BYTES)
KEY = st.binary(max_size=20)
NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1, max_size=6)


def member(name):
    return Member(name, name * 32, f"{name}.example:10001")


@st.composite
def settled(draw, retired=()):
    """A configuration without a target."""
    names = sorted(draw(NAMES))
    voters = draw(st.integers(1, len(names)))
    order = draw(st.permutations(names))
    learners = sorted(order[voters:])
    joining = draw(st.lists(st.sampled_from(learners), unique=True)) if learners else []
    return Configuration(
        members=tuple(member(name) for name in names),
        voters=tuple(sorted(order[:voters])),
        learners=tuple(learners),
        joining=tuple(Joining(name, draw(st.sampled_from(["", order[0]]))) for name in sorted(joining)),
        retired=(*retired, *sorted(draw(st.sets(st.text("xyz", min_size=4, max_size=4), max_size=3)))),
    )


@st.composite
def joint(draw):
    """A configuration on its way to another."""
    before = draw(settled())
    after = draw(settled())
    retired = tuple(sorted({*before.retired, *after.retired}))
    return Configuration(
        before.members,
        before.voters,
        before.learners,
        before.joining,
        before.retired,
        Configuration(after.members, after.voters, after.learners, after.joining, retired),
    )


CONFIGURATIONS = settled() | joint()


@st.composite
def entries(draw, index, term, stamp):
    kind = draw(st.sampled_from(EntryKind))
    data = {
        EntryKind.COMMANDS: st.binary(max_size=20),
        EntryKind.CONFIGURATION: CONFIGURATIONS.map(Configuration.encode),
        EntryKind.VERSION: st.integers(1, NUMBER_MAX).map(lambda version: b"%d" % version),
    }.get(kind, st.just(b""))
    return Entry(index, term, stamp, int(kind), draw(data))


@st.composite
def appends(draw):
    prev_index = draw(st.integers(0, NUMBER_MAX - 5))
    terms = sorted(draw(st.lists(st.integers(1, 9), min_size=1, max_size=5)))
    stamps = sorted(draw(st.lists(NUMBER, min_size=len(terms), max_size=len(terms))))
    log = tuple(
        draw(entries(prev_index + 1 + n, term, stamp))
        for n, (term, stamp) in enumerate(zip(terms, stamps, strict=True))
    )
    keep = draw(st.integers(0, len(log)))
    return Append(terms[-1], prev_index, draw(st.integers(0, terms[0])), draw(NUMBER), log[:keep])


@st.composite
def append_replies(draw):
    term, index = draw(NUMBER), draw(NUMBER)
    hint_index, hint_term = draw(st.integers(0, index)), draw(st.integers(0, term))
    return AppendReply(term, index, draw(st.booleans()), hint_index, hint_term)


def asking(kind, *more):
    return TERM.flatmap(lambda term: st.builds(kind, st.just(term), NUMBER, st.integers(0, term - 1), *more))


@st.composite
def offers(draw):
    index = draw(TERM)
    base = Base(index, draw(TERM), draw(NUMBER), draw(st.integers(1, index)), draw(CONFIGURATIONS))
    keys = draw(NUMBER)
    size = draw(NUMBER) if keys else 0
    return SnapshotOffer(base, draw(NUMBER), keys, size, draw(SUM), draw(st.booleans()))


@st.composite
def chunks(draw):
    rows = draw(st.binary(max_size=50))
    after, last = sorted(draw(st.lists(KEY, min_size=2, max_size=2, unique=True)))
    at = draw(st.sampled_from([None, after]))
    return SnapshotChunk(draw(TERM), draw(TERM), at, rows, crc32(rows), last, draw(st.booleans()))


BY_TYPE = {
    PreVote: asking(PreVote),
    PreVoteReply: st.builds(PreVoteReply, NUMBER, st.booleans()),
    Vote: asking(Vote, st.booleans()),
    VoteReply: st.builds(VoteReply, NUMBER, st.booleans(), NUMBER),
    Append: appends(),
    AppendReply: append_replies(),
    Heartbeat: st.builds(Heartbeat, TERM, NUMBER, NUMBER, NUMBER),
    HeartbeatReply: st.builds(HeartbeatReply, NUMBER, NUMBER, NUMBER, st.booleans(), st.booleans()),
    TimeoutNow: st.builds(TimeoutNow, TERM),
    Forward: st.builds(Forward, NUMBER, NUMBER, st.binary(max_size=50)),
    WaitingForward: st.builds(WaitingForward, NUMBER, NUMBER, st.binary(max_size=50)),
    ForwardReply: st.builds(ForwardReply, NUMBER, st.just(DONE), st.binary(max_size=50))
    | st.builds(ForwardReply, NUMBER, st.integers(1, 2), st.just(b"")),
    ReadIndex: st.builds(ReadIndex, NUMBER),
    ReadIndexReply: st.builds(ReadIndexReply, NUMBER, NUMBER, NUMBER),
    LockQuestion: st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=3).map(
        lambda holders: LockQuestion(tuple(holders))
    ),
    SnapshotOffer: offers(),
    SnapshotRequest: st.builds(SnapshotRequest, TERM, TERM, st.none() | KEY),
    SnapshotChunk: chunks(),
    Invitation: st.builds(
        Invitation,
        st.text("0123456789abcdef", min_size=1, max_size=32),
        NAMES.map(lambda names: tuple(member(name) for name in sorted(names))),
        st.integers(1, GROUPS_MAX),
        st.booleans(),
    ),
    Admin: st.builds(Admin, NUMBER, NUMBER, st.binary(min_size=1, max_size=50)),
    AdminReply: st.builds(AdminReply, NUMBER, st.booleans(), st.binary(max_size=50)),
    Digest: st.builds(Digest, TERM, SUM),
    Fence: st.builds(Fence, TERM, SUM),
    NodeCondition: st.builds(NodeCondition, NUMBER, *[st.booleans()] * 6),
    Beat: st.builds(
        Beat,
        *[NUMBER] * 7,
        st.lists(st.tuples(st.integers(0, GROUP_MAX), NUMBER, NUMBER), max_size=3).map(tuple),
        st.lists(st.integers(0, GROUP_MAX), max_size=3).map(tuple),
    ),
    GroupPlace: NAMES.map(tuple).flatmap(
        lambda names: st.builds(
            GroupPlace,
            TERM,
            TERM,
            st.sampled_from("abc"),
            st.just(names),
            TERM,
            st.sets(st.sampled_from(names)).map(sorted).map(tuple),
            st.lists(st.builds(Joining, st.sampled_from(names), st.sampled_from(["", "a"])), max_size=2).map(
                tuple
            ),
            st.booleans(),
        )
    ),
    ReadKeys: st.lists(KEY | st.integers(1, KIND_MAX), max_size=3).flatmap(
        lambda names: st.builds(
            ReadKeys, NUMBER, st.just(tuple(names)), st.integers(0, len(names)), st.booleans()
        )
    ),
    QueryKeys: st.builds(QueryKeys, NUMBER, st.binary(min_size=1, max_size=50), st.booleans()),
    ReadKeysReply: st.builds(ReadKeysReply, NUMBER, st.just(READ), st.binary(min_size=1, max_size=50))
    | st.builds(ReadKeysReply, NUMBER, st.integers(1, TOO_MUCH), st.just(b"")),
}
NUMBERS = st.builds(ReplicaNumber, NUMBER, NUMBER)
BY_TYPE[Numbered] = st.builds(
    Numbered, st.one_of(*(BY_TYPE[kind] for kind in get_args(ReplicaMessage))), NUMBERS, NUMBERS
)
BY_TYPE[MembershipQuestion] = st.builds(MembershipQuestion, NUMBERS)
BY_TYPE[Dismissal] = st.builds(Dismissal, NUMBERS)
MESSAGES = st.one_of(*BY_TYPE.values())
