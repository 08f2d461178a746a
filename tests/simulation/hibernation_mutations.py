"""Mistakes in what stands for the ticks of groups that hibernate. Each names the test that finds it."""

from functools import partial

from tests.simulation.mutation import Mutation

_plant = partial(Mutation, test="tests/host/test_hibernation.py")
_FILE = "kraft/host/hibernation.py"

HIBERNATION_MUTATIONS = (
    _plant(
        "missed ticks are not made up for",
        _FILE,
        "            raft.skip(ticks)\n",
        "            pass\n",
        "a group that wakes stands where it would stand had it been ticked",
    ),
    _plant(
        "a group that wakes does not know what beats have said",
        _FILE,
        "                    self._beats.speak_for(self._groups[id_])\n",
        "",
        "a group that wakes stands where it would stand had it been ticked",
    ),
    _plant(
        "nobody watches the links of groups that hibernate",
        _FILE,
        "        return not busy and self._beats.lively\n",
        "        return not busy\n",
        "a leader that hears no majority steps down, also from groups that hibernate",
    ),
    _plant(
        "a group hibernates for ever",
        _FILE,
        "                self._due.setdefault(until, {})[group.id] = None\n",
        "",
        "whatever goes by time is HIBERNATION_SECONDS late at most",
    ),
    _plant(
        "a leader hibernates though a key expires soon",
        _FILE,
        "        expires_soon = expires is not None and expires <= soon\n",
        "        expires_soon = False\n",
        "a key expires in time",
    ),
    _plant(
        "a stale read of a group that hibernates does not look at the beats",
        "kraft/host/host.py",
        "            self.hibernation.wake((group,))  # it has not looked at the beats\n",
        "",
        "the age of a replica's state goes by the beats",
    ),
    _plant(
        "memory of groups that hibernate is left out",
        "kraft/host/data_memory.py",
        "        held = self._hibernation.memory\n",
        "        held = 0\n",
        "the bound of memory is that of all groups",
    ),
    _plant(
        "a group hibernates while slots of it move",
        _FILE,
        "            and not self._context.slots.is_moving(group.id, machine.keyspace)\n",
        "",
        "whoever leads the group goes on with a move",
    ),
    _plant(
        "an administrator's command wakes nobody",
        "kraft/host/admin/executor.py",
        "            self._wake((pending.group,))\n",
        "",
        "a group wakes before something is done in it",
    ),
    _plant(
        "a node's changed condition wakes nobody",
        "kraft/host/peer_receiver.py",
        "            self._hibernation.wake_all()\n            self._beats.condition_changed()",
        "            self._beats.condition_changed()",
        "a leader looks at once whether another node should lead in its place",
    ),
    _plant(
        "a group that is served hibernates",
        "kraft/host/host.py",
        "        while not self.hibernation.asleep.keys().isdisjoint(turns.woken):",
        "        while False:",
        "a group wakes before something is done in it",
    ),
    _plant(
        "a node that becomes slow wakes nobody",
        _FILE,
        "        if self.asleep and (changed or slow != self._slow or not ",
        "        if self.asleep and (changed or not ",
        "a slow node hands over what it leads",
    ),
    _plant(
        "no group hibernates on a slow node",
        _FILE,
        "        busy = context.persistence.full or ",
        "        busy = context.slowness.slow or context.persistence.full or ",
        "a node does not stay slow because it ticks all groups",
    ),
    _plant(
        "a group that hibernates is not handed over",
        "kraft/host/admin/leader_spread.py",
        "            due = [id_ for id_, since in waiting.items() if since + self._patience(id_) <= now]",
        "            due = [g.id for g in awake if waiting.get(g.id, now) + STEADY_SECONDS <= now]",
        "the groups of a node return to it soon after it is back",
    ),
    _plant(
        "a node that has group 0 alone sends no beats",
        "kraft/host/beats.py",
        "        return self._slots.groups > 1 and bool(self._groups)\n",
        "        return len(self._groups) > 1\n",
        "groups hibernate only while all nodes are heard",
    ),
    Mutation(
        "a question that comes every second wakes a group",
        "kraft/host/admin/executor.py",
        "        begins = not isinstance(command, FindLogs)\n",
        "        begins = True\n",
        "a group without news costs nothing",
        test="tests/backup/test_scattered_logs.py",
    ),
    _plant(
        "a group whose checkpoint is being written does not hibernate",
        "kraft/host/group/stillness.py",
        "and (checkpoints.busy or not checkpoints.awaited)",
        "and not (checkpoints.busy or checkpoints.awaited)",
        "a node does not tick all groups while it writes an image of them",
    ),
    _plant(
        "a group hibernates on when its checkpoint is durable",
        "kraft/host/group/group.py",
        "        self.sender.checkpointed()\n        self._context.turns.wake(self.id)\n",
        "        self.sender.checkpointed()\n",
        "replicas are compared as soon as their checkpoints are durable",
    ),
    Mutation(
        "checkpoints of groups that hibernate do not count",
        "kraft/host/checkpoint_budget.py",
        "for group in groups if group.raft.state.leads])",
        "for group in led])",
        "a node has two checkpoints under way at most",
        test="tests/host/test_checkpoint_budget.py",
    ),
    Mutation(
        "markers are asked for though the holds will be over",
        "kraft/host/admin/held_markers.py",
        "        elif self._milliseconds < min(needed, HOLD_MS_MAX):\n",
        "        elif False:\n",
        "an image costs each group one checkpoint",
        test="tests/host/test_held_markers.py",
    ),
    _plant(
        "no group of a drained node hibernates",
        _FILE,
        "            and not state.fenced  #",
        "            and not (group.drained or state.fenced)  #",
        "a drained node does not tick all groups until it is stopped",
    ),
)
