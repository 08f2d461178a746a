"""Mistakes with replicas that leave their group and come back to it (docs/design/placement.md)."""

from functools import partial

from tests.simulation.mutation import Mutation

_plant = partial(Mutation, test="tests/host/test_replicas.py")
_plant_loss = partial(Mutation, test="tests/storage/test_last_replicas.py")
_plant_rule = partial(Mutation, test="tests/host/test_replica_numbers.py")

_plant_in_run = partial(Mutation, run="tests.simulation.run:run_replicas")

REPLICA_MUTATIONS = (
    _plant(
        "messages for an earlier replica are taken",
        "kraft/host/replica_numbers.py",
        "if receiver != self.own:",
        "if False:",
        "a leader counts entries that the new replica never had",
    ),
    _plant(
        "answers of an earlier replica count",
        "kraft/host/replica_numbers.py",
        "if message.is_reply and self._members.get(sender, number) != number:",
        "if False:",
        "a leader counts entries that the new replica never had",
    ),
    _plant_rule(
        "an answer of an earlier replica counts for the one that was just added",
        "kraft/host/replica_numbers.py",
        "if self.state.configuration is not self._configuration:  # appended in this turn",
        "if False:",
        "a leader counts by the entry at once, and the numbers followed in the next turn",
    ),
    _plant(
        "an answer of an earlier replica counts for the first one with a number",
        "kraft/host/group/group.py",
        "numbered = self.numbers.in_use or self.raft.state.configuration is not self._configuration",
        "numbered = self.numbers.in_use",
        "the same, where no replica of the group had a number before",
    ),
    _plant(
        "a replica gets the number of another entry",
        "kraft/raft/leader.py",
        "place = ReplicaNumber(state.term, state.log.last_index + 1)",
        "place = ReplicaNumber(1, 1)",
        "the new replica is taken for the one before",
    ),
    _plant(
        "the number of a destroyed replica is forgotten",
        "kraft/host/replicas.py",
        "        self._last[id_] = last\n",
        "        self._last.pop(id_, None)\n",
        "a late message begins it again, without what it had promised",
    ),
    _plant(
        "the number of a destroyed replica is not stored",
        "kraft/storage/log/last_replicas.py",
        "        found[group] = LastReplica(ReplicaNumber(term, index), bool(held))",
        "        found[group] = LastReplica(ReplicaNumber(0, 0), bool(held))",
        "the same, after a start",
    ),
    _plant(
        "a replica is destroyed before its removal is committed",
        "kraft/host/replica_numbers.py",
        "if state.leads or state.configuration_index > state.commit or not configuration.members:",
        "if state.leads or not configuration.members:",
        "a voter is missing for ever if the change is undone",
    ),
    _plant_in_run(
        "a replica that was removed begins again with its number",
        "kraft/host/replica_numbers.py",
        "return message.receiver > known and not message.message.is_reply",
        "return message.receiver >= known and not message.message.is_reply",
        "it has forgotten what it had promised",
    ),
    _plant_in_run(
        "an earlier replica goes on for a later one",
        "kraft/host/peer_receiver.py",
        "            replicas.begin(id_, message.receiver)\n            return\n",
        "            if id_ not in self._groups:\n                replicas.begin(id_, message.receiver)\n"
        "                return\n            self._groups[id_].numbers.own = message.receiver\n"
        "            group = self._groups[id_]\n",
        "a leader counts entries of a log that the group has left behind",
    ),
    _plant_in_run(
        "a leader that the configuration lacks gets answers without its number",
        "kraft/host/peer_receiver.py",
        "            self._turns.numbers[id_] = group.numbers  # the answer says for which replica it is\n",
        "",
        "the follower never gets the entry that adds the leader",
    ),
    Mutation(
        "a replica that has promised something is dropped as if it had not",
        "kraft/host/replica_numbers.py",
        "return self.own == UNNUMBERED and not (state.term or state.log.last_index)",
        "return self.own == UNNUMBERED",
        "it begins again without what it had promised",
    ),
    _plant_rule(
        "a replica leaves before the entry that adds it arrives",
        "kraft/host/replica_numbers.py",
        "state.term_at(state.commit) > number.term",
        "state.term > number.term",
        "a member is destroyed while it catches up, if the leader has changed since, and never comes back",
    ),
    _plant_rule(
        "any leader dismisses a replica",
        "kraft/host/replica_numbers.py",
        "return number.term <= state.term and self._is_gone(configuration, node, number)",
        "return self._is_gone(configuration, node, number)",
        "a leader of before does not know the replicas that were added since",
    ),
    _plant(
        "the leader dismisses replicas that it does not know yet",
        "kraft/host/replica_numbers.py",
        "return number.term <= state.term and self._is_gone(configuration, node, number)",
        "return True",
        "a member is destroyed because a leader of before has not heard of it",
    ),
    _plant(
        "term and vote outlive their replica",
        "kraft/storage/log/last_replicas.py",
        '_DELETE = ("DELETE FROM hard_state WHERE replica = ?", ',
        "_DELETE = (",
        "a vote counts for a replica that never gave it",
    ),
    _plant_loss(
        "a replica that was begun and is lost goes unnoticed",
        "kraft/storage/log/highwater.py",
        'return None if later else f"',
        'return None if True else f"',
        "it has voted, and acknowledged entries",
    ),
    _plant_loss(
        "the mark of a destroyed replica is not looked at",
        "kraft/storage/log/loading.py",
        "            found = emptied(number)\n",
        "            continue\n",
        "a later replica may be lost",
    ),
    _plant(
        "a removed node destroys its data",
        "kraft/host/replica_numbers.py",
        "        if node in configuration.retired:\n            return False",
        "        if False:\n            return False",
        "it keeps everything, as it always did",
    ),
)
