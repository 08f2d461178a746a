"""The values of the handshake; `kraft.peerwire.handshake` sets their order and what they prove."""

import msgspec

from kraft.int64 import INT64_MAX
from kraft.peerwire.codec import GROUPS_MAX
from kraft.peerwire.errors import WireError
from kraft.raft.membership.configuration import MEMBERS_MAX, TEXT_MAX, Member

MAGIC = b"kraft"
WIRE_MIN, WIRE_MAX = 1, 4  # versions of the peer wire that this program speaks
WIRE_CONDITION = 2  # from this version on, a peer understands `messages.NodeCondition`
WIRE_BEATS = 3  # from this version on, a peer understands `messages.Beat`
WIRE_REPLICAS = 4  # from this version on, a peer understands `messages.Numbered` and those after it
NONCE_BYTES = 32
COUNTER_MAX = INT64_MAX  # of starts and sessions: the largest number that a database can hold
CURRENT_MAX = 2 * MEMBERS_MAX  # members of a joint configuration
REASON_MAX = 500  # characters of a refusal
NO_AUTH, SECRET = "none", "secret"  # values of `Hello.auth`
CHALLENGE_MACHINE_VERSION = 2  # a program that supports this machine version understands a Challenge


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Which node is speaking, and which versions it supports.

    `incarnation` is 32 hex digits; `cluster`, `members` (the bootstrap list) and `current` (the members in
    force as far as the node knows) are empty until the node has formed or joined a cluster; a program that
    speaks peer wire 1 only sends no `current`. `peer`, `client` and `http` are advertised addresses.
    `machine_max` is the highest machine version that the program supports, `machine_min` the one in force in
    its cluster as far as it knows. `starts` counts the starts on its data directory and `session` (63 bits)
    is drawn at each start: the two reveal an old copy of a directory. `standby`: the node waits to be added
    to a cluster. `leaderless`: it belongs to a cluster and knows no leader, so that nobody can be added now;
    an earlier program never says so. `groups` is the number of groups of its cluster, or with which it would
    form one; 0 from an earlier program, which knows one group only. `zone` is what may fail together with the
    node; '' without one, and from an earlier program. The link fills in `nonce` and `auth`.
    """

    id: str
    incarnation: str
    cluster: str = ""
    members: tuple[Member, ...] = ()
    peer: str = ""
    client: str = ""
    http: str = ""
    machine_min: int = 1
    machine_max: int = 1
    wire_min: int = WIRE_MIN
    wire_max: int = WIRE_MAX
    magic: bytes = MAGIC
    nonce: bytes = b""
    auth: str = NO_AUTH
    starts: int = 0
    session: int = 0
    standby: bool = False
    current: tuple[Member, ...] = ()
    leaderless: bool = False
    groups: int = 0
    zone: str = ""


class Challenge(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Begins a handshake where a secret is set, and tells nothing about its sender.

    The dialling side adds a `mac` over its nonce, by which the accepting side tells it from strangers at the
    first word; an earlier program adds none.
    """

    nonce: bytes
    magic: bytes = MAGIC
    mac: bytes = b""


class Proof(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """`mac` proves that the sender knows the secret; empty with `none`. It also accepts the dialling side."""

    mac: bytes


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The dialling side accepts too: the link is open."""


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Ends the handshake with a reason for people. `mac` proves that the accepting side's owner refuses."""

    reason: str
    mac: bytes = b""


Greeting = Hello | Challenge | Proof | Welcome | Refusal


def encode(greeting: Greeting) -> bytes:
    """The payload of a GREETING message."""
    return _encode(greeting)


def decode(data: bytes) -> Greeting:
    """Inverse of `encode`. Raises WireError. A Hello of a foreign version is no error here."""
    try:
        greeting: Greeting = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise WireError(f"not a kraft handshake: {error}") from None
    return greeting


def faults(hello: Hello) -> str | None:
    """What is wrong with the form of a Hello, None for nothing."""
    if hello.magic != MAGIC:
        return "not a kraft node"
    if not (0 < hello.wire_min <= hello.wire_max and 0 < hello.machine_min <= hello.machine_max):
        return "impossible version range"
    if not hello.id or not hello.incarnation:
        return "a node without id or incarnation"
    texts = [hello.id, hello.incarnation, hello.cluster, hello.peer, hello.client, hello.http, hello.zone]
    for member in (*hello.members[:MEMBERS_MAX], *hello.current[:CURRENT_MAX]):
        texts += (member.id, member.incarnation, member.peer)
    if any(len(text) > TEXT_MAX for text in texts):
        return "a field of the handshake is too long"
    if not all(text.isprintable() for text in texts):
        return "a field of the handshake holds control characters"
    if len(hello.members) > MEMBERS_MAX or len(hello.current) > CURRENT_MAX:
        return f"more than {MEMBERS_MAX} members"
    if not (0 <= hello.starts <= COUNTER_MAX and 0 <= hello.session <= COUNTER_MAX):
        return "an impossible count of starts, or session"
    if not 0 <= hello.groups <= GROUPS_MAX:
        return "an impossible number of groups"
    if len(hello.nonce) != NONCE_BYTES:
        return f"the nonce must have {NONCE_BYTES} bytes"
    return None


def printable(reason: str) -> str:
    """The reason of a peer's Refusal, made fit for a log: short, without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in reason[:REASON_MAX])


def share(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether two [min, max] ranges of versions overlap."""
    return max(first[0], second[0]) <= min(first[1], second[1])


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Greeting)
