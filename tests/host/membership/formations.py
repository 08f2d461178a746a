"""Nodes that greet each other, before and after they have formed a cluster."""

from msgspec.structs import replace

from kraft.host.membership.formation import Formation, cluster_id
from kraft.node.values import Identity
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import Invitation
from kraft.raft.membership.configuration import Configuration, Member

ALL = frozenset({"K1", "K2", "K3"})


def node(id_, incarnation=None, wanted=ALL, standby=False):
    return Formation(Identity(id_, incarnation or id_ * 16), f"{id_}:1", wanted, standby)


def waiting(id_, incarnation=None):
    """A node in standby."""
    return node(id_, incarnation, frozenset({id_}), standby=True)


def hello(formation, starts=1, session=7):
    identity = formation.identity
    return Hello(
        id=identity.id,
        incarnation=identity.incarnation,
        cluster=identity.cluster,
        members=identity.members,
        peer=formation.address,
        starts=starts,
        session=session,
        standby=formation.standby,
        groups=formation.groups,
    )


def greet(formation, other):
    """Take the greeting as a host does; a new identity is durable at once."""
    assert formation.objection(hello(other)) is None
    identity = formation.met(hello(other)) or formation.founding_identity()
    if identity is not None:
        formation.identity = identity
    return identity


def formed():
    k1, k2, k3 = node("K1"), node("K2"), node("K3")
    for one in (k1, k2, k3):
        for other in (k1, k2, k3):
            if one is not other and not one.formed:
                greet(one, other)
    return k1, k2, k3


# Standby, and being added


def invitation(formation):
    return Invitation(formation.identity.cluster, formation.identity.members, formation.groups)


# The members in force


def with_change(formation, change, *args):
    base = formation.current
    if not base.members:
        base = Configuration.of_voters(formation.identity.members)
    formation.current = change(base, *args)


# A cluster that was recovered from one of its members (kraft recover)


def recovered(formation, mark="e" * 32):
    """The node after `kraft recover`: the other members are retired, and the founder is no real node."""
    mine = formation.identity
    others = [m.incarnation for m in formation.members if m.id != mine.id]
    founder = Member(mine.id, mark, formation.address)
    new = Formation(
        Identity(mine.id, mine.incarnation, cluster_id((founder,)), (founder,)), formation.address, ALL
    )
    alone = Configuration.of_voters((Member(mine.id, mine.incarnation, formation.address),))
    new.current = Configuration(alone.members, alone.voters, retired=tuple(sorted(others)))
    return new


def versioned(formation, lowest, highest):
    """The greeting of a node that has `lowest` in force and supports `highest`."""
    return replace(hello(formation), machine_min=lowest, machine_max=highest)


# What a node learns from a member that refuses it


def in_force(formation):
    """A greeting that shows the members in force, as peer wire 2 has it."""
    return replace(hello(formation), current=formation.members)


# A cluster without a leader lets nobody in


def without_leader(formation):
    """The greeting of a member that shows the members in force, and knows no leader."""
    return replace(in_force(formation), leaderless=True)
