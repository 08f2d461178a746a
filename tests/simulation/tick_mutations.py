"""Mistakes in the calls that stand for several ticks. Each names the test that finds it."""

from functools import partial

from tests.simulation.mutation import Mutation

_plant = partial(Mutation, test="tests/host/test_ticker.py")
_FILE = "kraft/host/ticker.py"

TICK_MUTATIONS = (
    _plant(
        "a message finds the ticks of the last call",
        "kraft/host/peer_receiver.py",
        "            self._ticker.catch_up()\n        turns, groups",
        "            pass\n        turns, groups",
        "a voter knows to a tick when it heard the leader",
    ),
    _plant(
        "skipped ticks are not counted",
        _FILE,
        "        self._skip_to(self.span - 1)\n        self._begin()",
        "        self._begin()",
        "an idle node counts as many ticks as a busy one",
    ),
    _plant(
        "the ticks of a pause are counted",
        _FILE,
        "        self._skip_to(min(passed, self.span - 1))",
        "        self._skip_to(passed)",
        "a node that was paused judges by what it has received",
    ),
    _plant(
        "an idle node serves a request and sleeps on",
        "kraft/host/host.py",
        "            self._ticker.look(turns.woken)\n",
        "            pass\n",
        "the next tick has a call of its own when anything is under way",
    ),
    _plant(
        "an administrator's command waits for the end of the span",
        "kraft/host/host.py",
        "        self._ticker.hurry()\n        if self.groups",
        "        if self.groups",
        "a command is carried out at the next tick",
    ),
    _plant(
        "a node sleeps on after the end of a link",
        "kraft/host/peer_receiver.py",
        "        self._ticker.hurry()\n        self._hibernation.wake_all()  # while",
        "        self._hibernation.wake_all()  # while",
        "an election begins with ticks that each have a call",
    ),
    _plant(
        "a leader forgets when its skipped ticks were",
        "kraft/host/requests/reads.py",
        "            self._ticks.extend([self._last_tick] * ticks)\n",
        "            pass\n",
        "a leader knows the age of its state to an election timeout",
    ),
    _plant(
        "heartbeats wait for the end of the span",
        "kraft/raft/heartbeats.py",
        "        return max(0, state.settings.heartbeat_ticks - 1 - (0 if state.quiet else self.elapsed))",
        "        return state.settings.heartbeat_ticks - 1",
        "a leader sends its heartbeats in time",
        test="tests/raft/test_spare_ticks.py",
    ),
    _plant(
        "a follower sleeps while its leader is silent",
        "kraft/raft/follower.py",
        "        fresh = state.leader and state.elapsed <= FRESH_HEARTBEATS * interval\n",
        "        fresh = True\n",
        "followers of a silent leader time out at different ticks",
        test="tests/raft/test_spare_ticks.py",
    ),
)
