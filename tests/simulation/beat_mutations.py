"""Mistakes in beats and in elections by rank (docs/design/many-groups.md).

They cost time, or need a coincidence that no plan draws; so each names the test that finds it.
"""

from functools import partial

from tests.simulation.mutation import Mutation

_LINK = "kraft/host/beat_link.py"
_plant_link = partial(Mutation, test="tests/host/test_beat_link.py")

BEAT_MUTATIONS = (
    _plant_link(
        "a beat of an earlier link counts",
        _LINK,
        "if (beat.epoch, beat.to_epoch) != (self.peer_epoch, self.epoch) or beat.sequence <= self._heard:",
        "if beat.sequence <= self._heard:",
        "what is agreed belongs to one link",
    ),
    _plant_link(
        "a late beat counts",
        _LINK,
        "!= (self.peer_epoch, self.epoch) or beat.sequence <= self._heard:",
        "!= (self.peer_epoch, self.epoch):",
        "an older list is no news",
    ),
    _plant_link(
        "a change is told once",
        _LINK,
        "for group, (place, version) in told if version > self._acknowledged)",
        "for group, (place, version) in told if version == self._version)",
        "a lost beat does no harm: the next one has the same changes",
    ),
    Mutation(
        "survivors of a node all ask at once",
        "kraft/host/fast_election.py",
        "        return sum(self._peers.is_able(node) for node in before if node != without)",
        "        return 0",
        "each survivor asks for the groups in which it comes first",
        test="tests/host/test_fast_election.py",
    ),
    Mutation(
        "groups that begin elect at random",
        "kraft/host/lifecycle.py",
        "        await_turn(group, settings.election_ticks(self._config), self._slots.groups)\n",
        "        await_turn(group, settings.election_ticks(self._config), 1)\n",
        "the preferred leader of a group is elected first",
        test="tests/host/test_fast_election.py",
    ),
    Mutation(
        "nodes that cannot lead come first",
        "kraft/host/fast_election.py",
        "        return sum(self._peers.is_able(node) for node in before if node != without)",
        "        return sum(node != without for node in before)",
        "nobody waits for a node that is drained, fenced, slow or full",
        test="tests/host/test_fast_election.py",
    ),
)
