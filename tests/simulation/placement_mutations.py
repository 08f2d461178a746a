"""Mistakes of the placement where replicas follow the votes (docs/design/placement.md)."""

from functools import partial

from tests.simulation.mutation import Mutation

_plant_plan = partial(Mutation, test="tests/host/test_replica_plan.py")
_plant_step = partial(Mutation, test="tests/host/membership/test_replica_steps.py")
_plant = partial(Mutation, test="tests/host/test_moving_replicas.py")

PLACEMENT_MUTATIONS = (
    _plant_plan(
        "replicas on their way count for the voters that they replace",
        "kraft/host/placement/replica_plan.py",
        "self.votes.update(group.expected)",
        "self.votes.update(group.voters)",
        "a new node is given more and more of them, until the first ones vote",
    ),
    _plant_plan(
        "a group waits for a new replica on a node that is lost",
        "kraft/host/placement/replica_plan.py",
        "return known is None or known.leaving or known.lost",
        "return known is None",
        "the voter that was to leave stays for ever",
    ),
    _plant_plan(
        "a node gets a vote without a replica",
        "kraft/host/placement/replica_plan.py",
        "has = set(move.voters if group.replicas is None else (*group.replicas, *move.before))",
        "has = set(move.voters)",
        "the group refuses each step, and nothing moves",
    ),
    _plant_plan(
        "a replica is dropped while its group needs a repair",
        "kraft/host/placement/replica_plan.py",
        "elif not group.fixed and id_ not in busy and group.replicas is not None:",
        "elif not group.fixed and group.replicas is not None:",
        "the node that could vote at once has to be given a copy again",
    ),
    _plant_step(
        "who is replaced by a replica never comes back",
        "kraft/raft/membership/changes.py",
        "any_replica(replaced_one.node) if is_replica else replaced_one.node",
        "replaced_one.node",
        "a node has had each group once",
    ),
    _plant_step(
        "who replaces a node with a new replica takes the place of a node",
        "kraft/raft/membership/changes.py",
        "if promise is not None and promise.replaces and leaving.number != UNNUMBERED:",
        "if False:",
        "a node that stays in the cluster never comes back to the group, which the placement wants for ever",
    ),
    _plant_step(
        "a step of an old plan drops a replica on its way to a vote",
        "kraft/host/membership/targets.py",
        "if command.coming != any(each.id == command.node for each in current.joining):",
        "if False:",
        "the next plan adds it again, and so on",
    ),
    _plant(
        "a node that is added begins replicas of all groups",
        "kraft/host/membership/invitations.py",
        "first_only = self._peers.moves_replicas",
        "first_only = False",
        "nobody tells these replicas anything, and their clients wait",
    ),
    Mutation(
        "a group that the node has left keeps its members",
        "kraft/host/membership/peers.py",
        "        if self._configurations.pop(group, None) is not None:\n            self._unite()\n",
        "        self._configurations.pop(group, None)\n",
        "a node that is gone counts as a member without a link, and the placement never settles",
        test="tests/host/test_peers.py",
    ),
    _plant(
        "a replica that no group knows of stays for ever",
        "kraft/host/replicas.py",
        "self._end(group) if group.numbers.is_blank else self._ask(group)",
        "self._ask(group)",
        "its node never asks elsewhere for what clients want",
    ),
    _plant(
        "a node is added without votes while all members get theirs back",
        "kraft/host/placement/placement_commands.py",
        "if state is not None and state.active:",
        "if True:",
        "it never votes, and has no replica but that of group 0",
    ),
    _plant(
        "no message without numbers begins a replica",
        "kraft/host/peer_receiver.py",
        "        replicas.begin(id_, UNNUMBERED)\n        return True",
        "        return False",
        "a node that takes the place of another one never gets its replicas",
    ),
    _plant(
        "new replicas on their way do not count among the two for one node",
        "kraft/host/placement/placer.py",
        "        incoming = self.view.incoming()\n",
        "        incoming = self.view.incoming() - self.view.incoming()\n",
        "a new node has to copy many groups at once",
    ),
    Mutation(
        "steps of the last plan begin while the next one is made",
        "kraft/host/placement/placer.py",
        "if self._waiting and not self._planning:",
        "if self._waiting:",
        "two steps of one group are under way, and the end of the second one is an error",
        test="tests/host/test_placement.py",
    ),
)
