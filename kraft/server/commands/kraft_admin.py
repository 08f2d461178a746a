"""The administrator's commands: a request becomes an `AdminCommand`, and its result becomes a reply.

Words, ids and ports are checked here; the leader decides whether a change can be made now.
"""

import re

from kraft.backup.archive import check_name
from kraft.config.kinds import Address, NodeId
from kraft.kv.slots import SLOTS
from kraft.node.admin import (
    Add,
    AdminResult,
    CancelMove,
    CloseImage,
    Compact,
    Demote,
    Drain,
    MergeGroups,
    MoveSlots,
    OpenImage,
    Promote,
    Readdress,
    ReadImage,
    RebalanceReplicas,
    RebalanceSlots,
    Remove,
    Replace,
    Reseed,
    SetReplication,
    ShowReplication,
    SplitGroup,
    StepDown,
    TakeBackup,
    TakeSnapshot,
    TransferLeadership,
    Verify,
)
from kraft.raft.membership.configuration import MEMBERS_MAX
from kraft.resp.values import Reply, Request
from kraft.server.commands.arguments import integer
from kraft.server.errors import SYNTAX, Rejected, printable

PARTS_MAX = 128  # of one split, as many as `cluster.groups` may be: the groups that it creates stay
_NODE_ID, _ADDRESS = NodeId(), Address()
_WHOLE_ADDRESS = re.compile(rb"(?:[^:]+|\[.*\]):[0-9]+")


def add(request: Request) -> Add:
    """KRAFT ADD id host raft-port [LEARNER] [FORCE]."""
    address, rest = _address(request[3:])
    options = _options(rest, b"LEARNER", b"FORCE")
    return Add(_id(request[2]), address, b"LEARNER" in options, b"FORCE" in options)


def java_add(request: Request) -> Add:
    """`raft-add-node id host raft-port` of the Java shell."""
    return add([b"kraft", *request])


def remove(request: Request) -> Remove:
    """KRAFT REMOVE id [FORCE]."""
    return Remove(_id(request[2]), _force(request[3:]))


def java_remove(request: Request) -> Remove:
    """`raft-remove-node id` of the Java shell."""
    return remove([b"kraft", *request])


def promote(request: Request) -> Promote:
    """KRAFT PROMOTE id [FORCE]."""
    return Promote(_id(request[2]), _force(request[3:]))


def demote(request: Request) -> Demote:
    """KRAFT DEMOTE id [FORCE]."""
    return Demote(_id(request[2]), _force(request[3:]))


def readdress(request: Request) -> Readdress:
    """KRAFT ADDRESS id host raft-port [FORCE]."""
    address, rest = _address(request[3:])
    return Readdress(_id(request[2]), address, _force(rest))


def replace(request: Request) -> Replace:
    """KRAFT REPLACE old new [host raft-port] [FORCE]. A learner that takes a place needs no address."""
    words = request[4:]
    address, rest = ("", words) if [word.upper() for word in words] in ([], [b"FORCE"]) else _address(words)
    return Replace(_id(request[2]), _id(request[3]), address, _force(rest))


def transfer(request: Request) -> TransferLeadership:
    """KRAFT TRANSFER [id] [GROUP group]."""
    words, group = request[2:], -1
    if len(words) > 1 and words[-2].upper() == b"GROUP":
        group, words = _group(words[-1]), words[:-2]
    if len(words) > 1:
        raise Rejected(SYNTAX)
    return TransferLeadership(_id(words[0]) if words else "", group)


def step_down(_: Request) -> StepDown:
    """KRAFT STEPDOWN."""
    return StepDown()


def drain(request: Request) -> Drain:
    """KRAFT DRAIN ON | OFF."""
    word = request[2].upper()
    if word not in (b"ON", b"OFF"):
        raise Rejected(f"ERR DRAIN is ON or OFF, not '{printable(request[2])}'")
    return Drain(word == b"ON")


def snapshot(_: Request) -> TakeSnapshot:
    """KRAFT SNAPSHOT."""
    return TakeSnapshot()


def compact(request: Request) -> Compact:
    """KRAFT COMPACT [KEEP entries]."""
    if len(request) == 2:
        return Compact()
    if len(request) != 4 or request[2].upper() != b"KEEP":
        raise Rejected("ERR use KRAFT COMPACT or KRAFT COMPACT KEEP entries")
    keep = integer(request[3])
    if keep < 0:
        raise Rejected("ERR the number of entries to keep is negative")
    return Compact(keep)


def verify(_: Request) -> Verify:
    """KRAFT VERIFY."""
    return Verify()


def reseed(request: Request) -> Reseed:
    """KRAFT RESEED id."""
    return Reseed(_id(request[2]))


def image(request: Request) -> OpenImage | ReadImage | CloseImage:
    """KRAFT IMAGE OPEN, READ token group [after], or CLOSE token."""
    word, words = request[2].upper(), request[3:]
    if word == b"OPEN" and not words:
        return OpenImage()
    if word == b"READ" and len(words) in (2, 3):
        return ReadImage(integer(words[0]), integer(words[1]), words[2] if len(words) == 3 else None)
    if word == b"CLOSE" and len(words) == 1:
        return CloseImage(integer(words[0]))
    raise Rejected(
        "ERR use KRAFT IMAGE OPEN, KRAFT IMAGE READ token group [after], or KRAFT IMAGE CLOSE token"
    )


def move(request: Request) -> MoveSlots | CancelMove:
    """KRAFT MOVE SLOTS first last TO group, or KRAFT MOVE CANCEL id."""
    word, words = request[2].upper(), request[3:]
    if word == b"SLOTS" and len(words) == 4 and words[2].upper() == b"TO":
        first, last, group = integer(words[0]), integer(words[1]), _group(words[3])
        if not 0 <= first <= last < SLOTS:
            raise Rejected(f"ERR slots are 0 to {SLOTS - 1}, and the last one is not before the first one")
        return MoveSlots(first, last, group)
    if word == b"CANCEL" and len(words) == 1:
        return CancelMove(integer(words[0]))
    raise Rejected("ERR use KRAFT MOVE SLOTS first last TO group, or KRAFT MOVE CANCEL id")


def split(request: Request) -> SplitGroup:
    """KRAFT SPLIT group [INTO parts]."""
    group, words = _group(request[2]), request[3:]
    if words and (len(words) != 2 or words[0].upper() != b"INTO"):
        raise Rejected(SYNTAX)
    parts = integer(words[1]) if words else 2
    if not 2 <= parts <= PARTS_MAX:
        raise Rejected(f"ERR a group is split INTO 2 to {PARTS_MAX} parts")
    return SplitGroup(group, parts)


def merge(request: Request) -> MergeGroups:
    """KRAFT MERGE group INTO other."""
    if request[3].upper() != b"INTO":
        raise Rejected(SYNTAX)
    group, into = _group(request[2]), _group(request[4])
    if group == into:
        raise Rejected("ERR a group is merged into another one")
    return MergeGroups(group, into)


def rebalance(request: Request) -> RebalanceSlots | RebalanceReplicas:
    """KRAFT REBALANCE SLOTS|REPLICAS [DRYRUN]."""
    what = request[2].upper()
    if what not in (b"SLOTS", b"REPLICAS"):
        raise Rejected("ERR use KRAFT REBALANCE SLOTS or KRAFT REBALANCE REPLICAS, or add DRYRUN to them")
    dry = bool(_options(request[3:], b"DRYRUN"))
    return RebalanceSlots(dry) if what == b"SLOTS" else RebalanceReplicas(dry)


def replication(request: Request) -> SetReplication | ShowReplication:
    """KRAFT REPLICATION [voters | ALL [FORCE]]."""
    if len(request) == 2:
        return ShowReplication()
    force = _force(request[3:])
    if request[2].upper() == b"ALL":
        return SetReplication(0, force)
    voters = integer(request[2])
    if not 1 <= voters <= MEMBERS_MAX:
        raise Rejected(f"ERR a group has 1 to {MEMBERS_MAX} voters, or ALL members vote")
    return SetReplication(voters, force)


def backup(request: Request) -> TakeBackup:
    """KRAFT BACKUP [name]."""
    if len(request) > 3:
        raise Rejected(SYNTAX)
    name = request[2].decode("utf-8", "replace") if len(request) == 3 else ""
    try:
        return TakeBackup(name and check_name(name))
    except ValueError as problem:
        raise Rejected(_error(problem)) from None


def done(_: AdminResult) -> Reply:
    """The shape of commands without a result."""
    return "OK"


def number(result: AdminResult) -> Reply:
    """The shape of commands whose result is a number, if they have any."""
    return result if isinstance(result, int) else "OK"


def report(result: AdminResult) -> Reply:
    """The shape of commands that show something, or reply OK."""
    return "OK" if result == "OK" else plain(result)


def plain(result: object) -> Reply:
    """The shape of results made of plain Python values; a text is a value here, not a status."""
    if isinstance(result, list):
        return [plain(each) for each in result]
    if isinstance(result, dict):
        return {plain(name): plain(value) for name, value in result.items()}
    if isinstance(result, str):
        return result.encode()
    if result is None or isinstance(result, bytes | bool | int | float):
        return result
    raise TypeError(f"no reply can be made of {type(result).__name__}")


def _id(word: bytes) -> str:
    try:
        return _NODE_ID.convert(word.decode("utf-8", "replace"))
    except ValueError as problem:
        raise Rejected(_error(problem)) from None


def _group(word: bytes) -> int:
    group = integer(word)
    if group < 0:
        raise Rejected("ERR the number of a group is not negative")
    return group


def _address(words: Request) -> tuple[str, Request]:
    """`host:port` made of the first two words, or of one word that has both; and the words after them.

    One word is accepted because error texts show addresses as one word, which people copy. An IPv6 host needs
    no brackets if its port is a word of its own.
    """
    taken = 1 if _WHOLE_ADDRESS.fullmatch(words[0]) else 2
    if len(words) < taken:
        raise Rejected(f"ERR '{printable(words[0])}' has no port; use host raft-port, or host:port")
    text = b":".join(words[:taken]).decode("utf-8", "replace")
    host, _, port = text.rpartition(":")
    if ":" in host and not host.startswith("["):
        text = f"[{host}]:{port}"
    try:
        return _ADDRESS.convert(text), words[taken:]
    except ValueError as problem:
        raise Rejected(_error(problem)) from None


def _error(problem: ValueError) -> str:
    return f"ERR {printable(str(problem).encode())}"


def _force(words: Request) -> bool:
    return bool(_options(words, b"FORCE"))


def _options(words: Request, *known: bytes) -> set[bytes]:
    """The options in `words`, in upper case. Raises Rejected for unknown and repeated ones."""
    options: set[bytes] = set()
    for word in words:
        option = word.upper()
        if option not in known:
            names = ", ".join(each.decode() for each in known)
            raise Rejected(f"ERR unknown option '{printable(word)}'; known options: {names}")
        if option in options:
            raise Rejected(SYNTAX)
        options.add(option)
    return options
