"""The four values of the handshake. See `handshake` for their order and for what they prove."""

import msgspec

from kraft.peerwire.errors import WireError
from kraft.raft.membership.configuration import MEMBERS_MAX, TEXT_MAX, Member

MAGIC = b"kraft"
WIRE_MIN, WIRE_MAX = 1, 1  # versions of the peer wire that this program speaks
NONCE_BYTES = 32
COUNTER_MAX = (1 << 63) - 1  # what a database can remember of a start or a session
REASON_MAX = 500  # characters of a refusal
NO_AUTH, SECRET = "none", "secret"  # values of `Hello.auth`


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Who a node says it is, and what it speaks.

    `incarnation` is 32 hex digits; `cluster` and `members` (the bootstrap list) are empty until it has
    formed; `peer`, `client` and `http` are advertised `host:port`. `starts` counts the starts on its
    directory and `session`, of 63 bits, is drawn at each: a directory that was put back shows by them.
    `standby`: it waits to be added to a cluster. The link fills in `nonce` and `auth`.
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


class Proof(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """`mac` shows that the sender knows the secret, empty with `none`. The accepting side accepts by it."""

    mac: bytes


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The dialling side accepts too: the link is open."""


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The end of it, with a reason for people. `mac` proves a refusal of the accepting side's owner."""

    reason: str
    mac: bytes = b""


Greeting = Hello | Proof | Welcome | Refusal


def encode(greeting: Greeting) -> bytes:
    """The payload of a GREETING message."""
    return _encode(greeting)


def decode(data: bytes) -> Greeting:
    """Inverse of `encode`. Raises WireError; a Hello of a foreign version is not an error here."""
    try:
        greeting: Greeting = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise WireError(f"not a kraft handshake: {error}") from None
    return greeting


def faults(hello: Hello) -> str | None:
    """What is wrong with the form of a Hello, or None."""
    if hello.magic != MAGIC:
        return "not a kraft node"
    if not (0 < hello.wire_min <= hello.wire_max and 0 < hello.machine_min <= hello.machine_max):
        return "impossible version range"
    if not hello.id or not hello.incarnation:
        return "a node without id or incarnation"
    texts = [hello.id, hello.incarnation, hello.cluster, hello.peer, hello.client, hello.http]
    for member in hello.members[:MEMBERS_MAX]:
        texts += (member.id, member.incarnation, member.peer)
    if any(len(text) > TEXT_MAX for text in texts):
        return "a field of the handshake is too long"
    if not all(text.isprintable() for text in texts):
        return "a field of the handshake holds control characters"
    if len(hello.members) > MEMBERS_MAX:
        return f"more than {MEMBERS_MAX} members"
    if not (0 <= hello.starts <= COUNTER_MAX and 0 <= hello.session <= COUNTER_MAX):
        return "an impossible count of starts, or session"
    if len(hello.nonce) != NONCE_BYTES:
        return f"the nonce must have {NONCE_BYTES} bytes"
    return None


def told(reason: str) -> str:
    """The reason of a peer's Refusal, fit for a log: short and without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in reason[:REASON_MAX])


def share(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether two [min, max] ranges of versions overlap."""
    return max(first[0], second[0]) <= min(first[1], second[1])


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Greeting)
