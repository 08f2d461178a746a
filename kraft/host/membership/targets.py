"""The configuration that a command of an administrator aims at."""

from kraft.config.kinds import Address, NodeId
from kraft.node.admin import (
    Add,
    Demote,
    DropReplica,
    GroupChange,
    MembershipChange,
    PlaceReplica,
    Promote,
    Readdress,
    Remove,
    Replace,
    SetVoters,
)
from kraft.peerwire.hello import Hello
from kraft.raft.errors import ChangeRefused
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Configuration, Joining, Member


def target(current: Configuration, command: GroupChange, member: Member | None) -> Configuration:
    """`current` after `command`. `member` is the node that the command brings in, None if it brings in none.

    Raises `ChangeRefused` when the command makes no sense for `current`.
    """
    if isinstance(command, Add) and member is not None:
        return changes.added(current, member, joining=not command.learner)
    if isinstance(command, Replace) and member is not None:
        return changes.replaced(current, command.old, member)
    if isinstance(command, Remove):
        return changes.removed(current, command.id)
    if isinstance(command, Promote):
        return changes.promoted(current, command.id)
    if isinstance(command, Demote):
        return changes.demoted(current, command.id)
    if isinstance(command, Readdress):
        return changes.readdressed(current, command.id, command.address)
    if isinstance(command, SetVoters):
        _check_voters(current, command.before)
        return changes.voting(current, command.voters)
    if isinstance(command, PlaceReplica) and member is not None:
        return _with_replica(current, command, member)
    if isinstance(command, DropReplica):
        return _without_replica(current, command)
    raise TypeError(f"{type(command).__name__} needs the node that it brings in")


def _with_replica(current: Configuration, command: PlaceReplica, node: Member) -> Configuration:
    _check_voters(current, command.before)
    if command.replaces and command.replaces not in current.voters:
        raise ChangeRefused(f"{command.replaces} has no vote whose place {node.id} could take")
    if current.joining:
        raise ChangeRefused(f"{current.joining[0].id} is on its way to a vote: wait until it has it")
    return changes.replica_added(current, node, joining=True, replaces=command.replaces)


def _without_replica(current: Configuration, command: DropReplica) -> Configuration:
    _check_voters(current, command.before)
    if command.node in current.voters:
        raise ChangeRefused(f"{command.node} votes, and its replica is needed")
    if command.coming != any(each.id == command.node for each in current.joining):
        on = "not on its way" if command.coming else "on its way"
        raise ChangeRefused(f"{command.node} is {on} to a vote by now")
    return changes.replica_removed(current, command.node)


def _check_voters(current: Configuration, before: tuple[str, ...]) -> None:
    if current.voters != before:
        raise ChangeRefused(f"the voters are {', '.join(current.voters)} by now")


def rehearsed(
    current: Configuration, command: MembershipChange, hello: Hello | None, member: Member | None = None
) -> Configuration:
    """`current` after `command`, as far as can be known before the node that it brings in has greeted.

    `hello` is the greeting of that node if it has a link already; `member` is it if it is known. Raises
    `ChangeRefused`.
    """
    if isinstance(command, Readdress):
        check_address(command.address)
    if not isinstance(command, Add | Replace):
        return target(current, command, None)
    member = member or spare(current, command)
    if member is None:
        check_newcomer(current, command, hello)
        incarnation = "unknown yet" if hello is None else hello.incarnation
        member = Member(newcomer(command), incarnation, command.address)
    return target(current, command, member)


def is_left_out(
    current: Configuration, command: MembershipChange, cluster: Configuration, *, everywhere: bool
) -> bool:
    """Whether the group of `current` has no member that `command` names, and needs none.

    `cluster` has the members of all groups, and `everywhere` each group should have them all. Raises
    `ChangeRefused` where an earlier command has ended half-way: this one would be done in some groups only.
    """
    if _concerns(current, command):
        return False
    if everywhere or not isinstance(command, Replace):
        check_not_gone(current, command, cluster)
    if everywhere and (known := cluster.member(_leaver(command))) is not None:
        raise ChangeRefused(
            f"{known.id} is a member of other groups only: repeat the addition that has ended half-way, or "
            f"take it out with KRAFT REMOVE {known.id}"
        )
    return not everywhere


def check_not_gone(current: Configuration, command: MembershipChange, cluster: Configuration) -> None:
    """Refuse to change a member that the group of `current` has removed for good, and other groups have not.

    `cluster` has the members of all groups. Raises `ChangeRefused`.
    """
    member = None if isinstance(command, Add | Remove) else cluster.member(_leaver(command))
    if member is None or current.member(member.id) is not None or member.node not in current.retired:
        return
    taking = [each.id for each in cluster.joining if each.replaces == member.id]
    if taking:
        raise ChangeRefused(
            f"{member.id} has left, and {taking[0]} is about to take its place in the other groups: wait "
            f"until {taking[0]} votes in all of them, or take {member.id} out with KRAFT REMOVE {member.id}"
        )
    raise ChangeRefused(
        f"{member.id} was removed, and other groups still have it: end that with KRAFT REMOVE {member.id}"
    )


def _concerns(current: Configuration, command: MembershipChange) -> bool:
    """Whether the group of `current` has a member that `command` names, or gets one."""
    if isinstance(command, Replace):
        return current.member(command.old) is not None or current.member(command.new) is not None
    return isinstance(command, Add) or current.member(command.id) is not None


def _leaver(command: MembershipChange) -> str:
    """The member that `command` is about; of two, the one whose place is taken."""
    return command.old if isinstance(command, Replace) else command.id


def is_reached(current: Configuration, command: MembershipChange, hello: Hello | None) -> bool:
    """Whether the members are as `command` wants them, so that there is nothing left to do.

    `hello` is the greeting of the node that the command brings in, None without a link: then its id and
    address have to do.
    """
    if isinstance(command, Add | Replace):
        return _is_in(current, command, hello)
    known = current.member(command.id)
    if isinstance(command, Remove):
        return known is None
    if isinstance(command, Readdress):
        return known is not None and known.peer == command.address
    if isinstance(command, Promote):
        return command.id in current.voters
    return command.id in current.learners and all(each.id != command.id for each in current.joining)


def _is_in(current: Configuration, command: Add | Replace, hello: Hello | None) -> bool:
    """Whether the node of `command` is a member, and in a replacement has its place or waits for it."""
    known = current.member(newcomer(command))
    if known is None or command.address not in ("", known.peer):
        return False
    if hello is not None and hello.incarnation != known.node:
        return False
    if isinstance(command, Add):
        return True
    if command.old == command.new:
        return hello is not None
    waits = Joining(known.id, command.old) in current.joining
    return waits or current.member(command.old) is None  # one without a vote is replaced by a learner


def newcomer(command: Add | Replace) -> str:
    """The id of the node that `command` brings in."""
    return command.id if isinstance(command, Add) else command.new


def spare(current: Configuration, command: Add | Replace) -> Member | None:
    """The member of `current` that is to take the place of another one, None if the command names a new node.

    Raises `ChangeRefused` when the command gives it another address than it has.
    """
    known = current.member(newcomer(command))
    if not isinstance(command, Replace) or known is None or known.id == command.old:
        return None
    if command.address not in ("", known.peer):
        raise ChangeRefused(
            f"{known.id} is a member at {known.peer}, not at {command.address}: leave the address out, or "
            f"correct it with KRAFT ADDRESS {known.id} first"
        )
    return known


def check_newcomer(current: Configuration, command: Add | Replace, hello: Hello | None) -> None:
    """Refuse what no greeting could change, before a node is dialled.

    `hello` is the greeting of the node if it has a link already. Raises `ChangeRefused`.
    """
    id_ = newcomer(command)
    check_id(id_)
    if not command.address:
        raise ChangeRefused(f"{id_} is not a learner of this cluster: add host and port of its peer port")
    check_address(command.address)
    known = current.member(id_)
    if isinstance(command, Add) and known is not None:
        kind = "voter" if id_ in current.voters else "learner"
        raise ChangeRefused(
            f"{id_} is a member already, a {kind}; if its data directory is lost, re-admit it with KRAFT "
            f"REPLACE {id_} {id_} {known.peer}"
        )
    incarnation = "unknown yet" if hello is None else hello.incarnation
    target(current, command, Member(id_, incarnation, command.address))


def check_id(id_: str) -> None:
    """Raises `ChangeRefused` when `id_` is no node id."""
    try:
        NodeId().convert(id_)
    except ValueError as error:
        raise ChangeRefused(str(error)) from None


def check_address(address: str) -> None:
    """Raises `ChangeRefused` when `address` is not `host:port`."""
    try:
        Address().convert(address)
    except ValueError as error:
        raise ChangeRefused(str(error)) from None
