"""The changes of a group's membership: each is a pure function from a configuration to the target.

These functions define what the commands of an administrator mean. They refuse a command that makes no sense,
with a text that names the way out. They do not ask whether this is the time: `Raft.reconfigure` knows what is
in flight, `host.membership` which nodes are healthy. All results are in canonical order, so that equal
configurations encode equally.
"""

from collections.abc import Collection, Iterable

from kraft.raft.errors import ChangeRefused
from kraft.raft.membership.configuration import MEMBERS_MAX, Configuration, Joining, Member
from kraft.raft.membership.replica_number import UNNUMBERED, any_replica, awaiting_number


def added(c: Configuration, member: Member, *, joining: bool = True, replaces: str = "") -> Configuration:
    """Add `member` as a learner.

    If `joining`, it is to vote once it has caught up, and then takes the place of the member `replaces`, if
    any.
    """
    _check_settled(c)
    _check_new(c, member, known=c.member(member.id))
    if len(c.members) >= MEMBERS_MAX:
        raise ChangeRefused(f"there are {MEMBERS_MAX} members, the most there can be: remove one first")
    if replaces:
        _find(c, replaces)
        _check_not_replaced(c, replaces)
    return _arranged(
        members=(*c.members, member),
        voters=c.voters,
        joining=(*c.joining, Joining(member.id, replaces)) if joining else c.joining,
        retired=c.retired,
    )


def replica_added(
    c: Configuration, node: Member, *, joining: bool = False, replaces: str = ""
) -> Configuration:
    """Add a new replica of the node `node`, which may have had one before, as a learner; see `added`.

    The entry that adds it gives it its number: see `Raft.reconfigure`.
    """
    return added(c, replica_of(node), joining=joining, replaces=replaces)


def replica_of(node: Member) -> Member:
    """A replica of the node `node` that is to be added."""
    return Member(node.id, awaiting_number(node.node), node.peer)


def removed(c: Configuration, id_: str) -> Configuration:
    """Remove `id_`, whose node may never return."""
    _check_settled(c)
    leaving = _find(c, id_)
    _check_not_last(c, id_)
    return _without(c, leaving, leaving.node)


def replica_removed(c: Configuration, id_: str) -> Configuration:
    """Remove the replica of the node `id_`, which stays in the cluster and may return to this group."""
    _check_settled(c)
    leaving = _find(c, id_)
    _check_not_last(c, id_)
    _check_not_replaced(c, id_)
    return _without(c, leaving, any_replica(leaving.node))


def promoted(c: Configuration, id_: str) -> Configuration:
    """Give the learner `id_` a vote; the member that it replaces, if any, leaves in the same step.

    A replica with a number takes the place of another replica: the node of that may return.
    """
    _check_settled(c)
    learner = _find(c, id_)
    if id_ in c.voters:
        raise ChangeRefused(f"{id_} is a voter already")
    promise = _promise(c, id_)
    result = _arranged(c.members, (*c.voters, id_), _but(c.joining, id_), c.retired)
    replaced_one = c.member(promise.replaces) if promise is not None else None
    if replaced_one is None:
        return result
    is_replica = learner.number != UNNUMBERED
    return _without(result, replaced_one, any_replica(replaced_one.node) if is_replica else replaced_one.node)


def demoted(c: Configuration, id_: str) -> Configuration:
    """Make `id_` a learner that stays one: a voter loses its vote, a joining learner is not promoted.

    One that is to take the place of a voter is refused until it has.
    """
    _check_settled(c)
    _find(c, id_)
    if id_ in c.learners:
        promise = _promise(c, id_)
        if promise is None:
            raise ChangeRefused(f"{id_} is a learner already")
        if promise.replaces:  # it may have taken that place in other groups, which would differ from this one
            raise ChangeRefused(
                f"{id_} is on its way to take the place of {promise.replaces}: wait until it votes, or take "
                f"it back with KRAFT REMOVE {id_}"
            )
        return _arranged(c.members, c.voters, _but(c.joining, id_), c.retired)
    _check_not_last(c, id_)
    return _arranged(c.members, tuple(v for v in c.voters if v != id_), c.joining, c.retired)


def voting(c: Configuration, voters: Collection[str]) -> Configuration:
    """Let the members `voters` vote, and no others: these are learners, which stay learners.

    Refused while a learner is on its way to a vote, which it might lose by that.
    """
    _check_settled(c)
    for id_ in voters:
        _find(c, id_)
    if not voters:
        raise ChangeRefused("a group needs a voter")
    if c.joining:
        raise ChangeRefused(f"{c.joining[0].id} is on its way to a vote: wait until it has it")
    return _arranged(c.members, tuple(voters), (), c.retired)


def readdressed(c: Configuration, id_: str, peer: str) -> Configuration:
    """Move `id_` to the address `peer` (`host:port`)."""
    _check_settled(c)
    member = _find(c, id_)
    if member.peer == peer:
        raise ChangeRefused(f"{id_} is at {peer} already")
    others = tuple(m for m in c.members if m.id != id_)
    _check_address_free(others, peer)
    moved = Member(id_, member.incarnation, peer)
    return _arranged((*others, moved), c.voters, c.joining, c.retired)


def replaced(c: Configuration, old: str, member: Member) -> Configuration:
    """Begin to replace the member `old` by `member`.

    Under the same id (with an emptied directory) the old incarnation leaves at once. If it had a vote, the
    new one gets one once it has caught up. A member with another id joins alongside a voter, which leaves in
    the same step that gives the new member its vote. A learner is replaced at once. If `member` is a learner
    already, it takes the place of the voter `old` in one step.

    A replica on its way to the place of another one is replaced by a replica: the other one's node stays.
    """
    _check_settled(c)
    leaving = _find(c, old)
    if member in c.members and member.id != old:
        return _taken_over(c, leaving, member)
    if old == member.id and leaving.node == member.node:
        raise ChangeRefused(
            f"{old} still has the data directory that the cluster knows: there is nothing to replace"
        )
    if old != member.id and old in c.voters:
        return added(c, member, replaces=old)
    _check_new(c, member, known=None if old == member.id else c.member(member.id))
    if old in c.voters:
        _check_not_replaced(c, old)
        _check_not_last(c, old)
    promise = Joining(old) if old in c.voters else _promise(c, old)
    if promise is not None and promise.replaces and leaving.number != UNNUMBERED:
        member = replica_of(member)
    rest = tuple(m for m in c.members if m.id != old)
    return _arranged(
        members=(*rest, member),
        voters=tuple(v for v in c.voters if v != old),
        joining=_but(c.joining, old) if promise is None else _promised(c.joining, old, member.id, promise),
        retired=tuple({*c.retired, leaving.node}),
    )


def _taken_over(c: Configuration, leaving: Member, spare: Member) -> Configuration:
    """The member `spare` votes in the place of the voter `leaving`."""
    if spare.id in c.voters:
        raise ChangeRefused(
            f"{spare.id} is a voter already and cannot take another place: name a learner or a new node, or "
            f"take {leaving.id} out with KRAFT REMOVE {leaving.id}"
        )
    if leaving.id not in c.voters:
        raise ChangeRefused(
            f"{leaving.id} and {spare.id} are learners already: take {leaving.id} out with KRAFT REMOVE "
            f"{leaving.id}"
        )
    if Joining(spare.id, leaving.id) in c.joining:
        raise ChangeRefused(
            f"{spare.id} is on its way to take the place of {leaving.id} already: it votes once it has "
            "caught up"
        )
    _check_not_replaced(c, leaving.id)
    grown = _arranged(c.members, (*c.voters, spare.id), _but(c.joining, spare.id), c.retired)
    return _without(grown, leaving, leaving.node)


def _without(c: Configuration, leaving: Member, retired: str) -> Configuration:
    return _arranged(
        members=tuple(m for m in c.members if m.id != leaving.id),
        voters=tuple(v for v in c.voters if v != leaving.id),
        joining=_but(c.joining, leaving.id),
        retired=tuple({*c.retired, retired}),
    )


def _arranged(
    members: tuple[Member, ...],
    voters: tuple[str, ...],
    joining: tuple[Joining, ...],
    retired: tuple[str, ...],
) -> Configuration:
    """A configuration in canonical order.

    Members without a vote are learners. Replacements of departed members are dropped.
    """
    ids = {m.id for m in members}
    result = Configuration(
        members=tuple(sorted(members)),
        voters=tuple(sorted(voters)),
        learners=tuple(sorted(ids.difference(voters))),
        joining=tuple(sorted(Joining(j.id, j.replaces if j.replaces in ids else "") for j in joining)),
        retired=tuple(sorted(retired)),
    )
    fault = result.fault()
    if fault is not None:
        raise ChangeRefused(f"impossible configuration: {fault}")
    return result


def _but(joining: Iterable[Joining], id_: str) -> tuple[Joining, ...]:
    return tuple(j for j in joining if j.id != id_)


def _promised(joining: Iterable[Joining], old: str, new: str, promise: Joining) -> tuple[Joining, ...]:
    """`joining` with `new` in the place of `old`, and `promise` for it."""
    return (*_but(joining, old), Joining(new, promise.replaces))


def _promise(c: Configuration, id_: str) -> Joining | None:
    return next((j for j in c.joining if j.id == id_), None)


# What is refused


def _check_settled(c: Configuration) -> None:
    if c.joint:
        raise ChangeRefused("another change of the members is under way: repeat this one when it is done")


def _find(c: Configuration, id_: str) -> Member:
    member = c.member(id_)
    if member is None:
        known = ", ".join(m.id for m in c.members)
        raise ChangeRefused(f"{id_} is not a member; the members are {known}")
    return member


def _check_not_last(c: Configuration, id_: str) -> None:
    if c.voters == (id_,):
        raise ChangeRefused(f"{id_} is the last voter: add or promote another node first")


def _check_not_replaced(c: Configuration, id_: str) -> None:
    successor = next((j.id for j in c.joining if j.replaces == id_), None)
    if successor is not None:
        raise ChangeRefused(
            f"{successor} is on its way to take the place of {id_}: wait until it votes, or first take it "
            f"back with KRAFT REMOVE {successor}"
        )


def _check_new(c: Configuration, member: Member, known: Member | None) -> None:
    if known is not None and known.node == member.node:
        kind = "voter" if member.id in c.voters else "learner"
        raise ChangeRefused(f"{member.id} is a member already, a {kind}")
    if known is not None:
        raise ChangeRefused(
            f"{member.id} is a member with another data directory: if that one is lost, re-admit the node "
            f"with KRAFT REPLACE {member.id} {member.id} {member.peer}"
        )
    if member.node in c.retired:
        raise ChangeRefused(
            f"the data directory of {member.id} belonged to a removed member and cannot return: wipe the "
            "data directory, start the node with cluster.standby and repeat this"
        )
    if c.is_retired(member):
        raise ChangeRefused(f"{member.id} has left this group and may come back to it with a number only")
    owner = next((m.id for m in c.members if m.node == member.node), None)
    if owner is not None:
        raise ChangeRefused(
            f"{member.id} runs on a copy of the data directory of {owner}: wipe the data directory of "
            f"{member.id}, start it with cluster.standby and repeat this"
        )
    _check_address_free((m for m in c.members if m.id != member.id), member.peer)


def _check_address_free(others: Iterable[Member], peer: str) -> None:
    owner = next((m.id for m in others if m.peer == peer), None)
    if owner is not None:
        raise ChangeRefused(f"{peer} is the address of {owner}: give each node its own")
