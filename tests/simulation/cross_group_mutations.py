"""Mistakes in what a node does for transactions over several groups, beside the state machine.

`tests.simulation.cross_groups` finds those that break a promise. The others cost clients their turn or their
time, which no history shows: each names the test that finds it.
"""

from functools import partial

from tests.simulation.mutation import Mutation

_plant = partial(Mutation, seeds=60, run="tests.simulation.cross_groups")
_ATTEMPT = "kraft/host/transactions/attempt.py"
_RECOVERY = "kraft/host/transactions/recovery.py"
_WAITS = "kraft/host/requests/transaction_waits.py"
_COORDINATOR = "tests/host/test_coordinator.py"
_DIRECTED = "tests/host/test_transaction_waits.py"
_MOVED = "tests/server/test_moved_slots.py"
_ALL_KEYS = "tests/server/test_all_keys_while_slots_move.py"
_ORDER = "tests/kv/test_move_order.py"
_SLOTS = "tests/host/test_slot_waits.py"

CROSS_GROUP_MUTATIONS = (
    # -- the coordinator
    _plant(
        "a computed transaction never locks its keys first",
        "kraft/host/transactions/optimistic.py",
        "            self._lock()\n\n    def _lock(self)",
        "            self.read()\n\n    def _lock(self)",
        "everybody has a turn",
        test="tests/host/test_key_lock.py",
    ),
    _plant(
        "only the keys that are computed from are locked first",
        "kraft/host/transactions/optimistic.py",
        "self._coordinator.lock(_wanted(self._parts, looks), looks,",
        "self._coordinator.lock(looks, looks,",
        "the others are taken by somebody who waits for the locks of higher groups",
        test="tests/host/test_key_lock.py",
    ),
    _plant(
        "a step waits while locks are held in all groups",
        _ATTEMPT,
        "self._requests.write(group, steps, self._size, done)",
        "self._requests.write(group, steps, self._size, done, waits=waits)",
        "who waits holds locks of lower groups only",
        test=_COORDINATOR,
    ),
    _plant(
        "a coordinator aborts when it does not know",
        _ATTEMPT,
        "            self._repeat_commit()\n",
        "            self._abort(NoLeader(self._home))\n",
        "after Commit was sent only home knows what became of it",
    ),
    _plant(
        "a Commit without a reply is repeated as another transaction",
        _ATTEMPT,
        "            self._repeat_commit()\n",
        "            self._abort(StepOutcome.FINISHED)\n",
        "only a Commit with the same id may be sent again",
    ),
    _plant(
        "an unknown outcome told as not done",
        _ATTEMPT,
        "partial(self._end, Uncertain())",
        "partial(self._end, NoLeader(self._home))",
        "three kinds of answers: done, certainly not done, unknown",
        test=_COORDINATOR,
    ),
    _plant(
        "a repeated Commit that is refused was not done",
        _ATTEMPT,
        "elif isinstance(outcome, Refused) and not self._in_doubt:",
        "elif isinstance(outcome, Refused):",
        "an earlier copy of it may be in the log",
        test=_COORDINATOR,
    ),
    _plant(
        "an attempt that has ended prepares again",
        _ATTEMPT,
        "if self._over or group in self._replies:",
        "if group in self._replies:",
        "its mark is gone, so nothing may be sent any more that locks keys",
        test=_COORDINATOR,
    ),
    _plant(
        "locks taken in descending order",
        _ATTEMPT,
        "sorted(parts.keys() - {self._home})",
        "sorted(parts.keys() - {self._home}, reverse=True)",
        "who waits holds locks of lower groups only",
        test=_COORDINATOR,
    ),
    # -- recovery
    _plant(
        "recovery does not ask home",
        _RECOVERY,
        "self._begin(name, hold.home, Decide(hold.id, holder=True), partial(self._told, hold))",
        "self._requests.write(self._group, [Resolve(hold.id, commit=False)], STEP_BYTES, _ignore)",
        "home may have committed it",
    ),
    _plant(
        "recovery without patience",
        _RECOVERY,
        "late = now - self._patience",
        "late = now",
        "a coordinator that is alive finishes what it began",
        test="tests/host/test_transaction_recovery.py",
    ),
    _plant(
        "decisions are not sent again",
        _RECOVERY,
        "for group in decision.waiting:",
        "for group in decision.waiting[:0]:",
        "home's leader sends Resolve until each participant has confirmed",
    ),
    _plant(
        "a step under way is sent again at each tick",
        _RECOVERY,
        "if asked not in self._under_way and len(self._under_way) < STEPS_MAX:",
        "if len(self._under_way) < STEPS_MAX:",
        "a group without a leader is not asked without end",
        test="tests/host/test_transaction_recovery.py",
    ),
    # -- reads
    _plant(
        "a read over groups looks once",
        "kraft/host/transactions/cut.py",
        "elif not self._changed:",
        "elif self._found:",
        "only what stood unchanged in both looks stood together",
    ),
    _plant(
        "a read over groups looks through locks",
        "kraft/host/transactions/transactions.py",
        "target.requests.transaction_waits.read(keys, done, fresh)",
        "target.requests.reads.read(done, fresh)",
        "what was committed shows in one group, and not yet in the other",
    ),
    _plant(
        "what was computed from changed keys is committed after all",
        "kraft/host/transactions/optimistic.py",
        "        if outcome is not CommandFailure.SCRIPT_CONFLICT:\n            self._done(outcome)",
        "        if True:\n            self._done(outcome)",
        "after a conflict all is read and computed again",
        test="tests/server/test_cross_group_computation.py",
    ),
    # -- waiting
    _plant(
        "who comes later overtakes who waits",
        _WAITS,
        "if _disjoint(writing.names, taken) and not self._blocked(writing.commands):",
        "if not self._blocked(writing.commands):",
        "first come, first served",
        test=_DIRECTED,
    ),
    _plant(
        "a Prepare on its way keeps nobody back",
        _WAITS,
        "return not writing.asking or any(type(command) is Prepare for command in writing.commands)",
        "return not writing.asking",
        "it is about to lock its keys",
        test=_DIRECTED,
    ),
    _plant(
        "what was done before the lock is done again",
        _WAITS,
        "        writing.commands = writing.commands[place:]\n",
        "",
        "a command is executed once",
        test=_DIRECTED,
    ),
    _plant(
        "who waits too long is told that nothing was done, after a part of it was",
        _WAITS,
        "        if writing.replies and isinstance(outcome, Refused):",
        "        if isinstance(outcome, type(None)):",
        "the replies to commands that were done reach the client",
        test=_DIRECTED,
    ),
    # -- slots that move
    _plant(
        "a read of a frozen slot is answered",
        _WAITS,
        "            refused = None if slots is None else slots.refusal(reading.keys)",
        "            refused = None",
        "the receiver may own it already, and change it",
        test=_SLOTS,
    ),
    _plant(
        "a stale read of a frozen slot is answered",
        _WAITS,
        "            refused = slots.refusal(names, whole=not names)",
        "            refused = None",
        "this replica never hears of a change in the receiver, however long ago that was",
        test=_SLOTS,
    ),
    _plant(
        "what follows a slot that has gone waits",
        _WAITS,
        "        if any(reply is CommandFailure.NOT_OWNER for reply in outcome[:place]):",
        "        if False:",
        "the first command is sent again after it, though it came first",
        test=_SLOTS,
    ),
    _plant(
        "a client waits for a lock in a slot that has gone",
        "kraft/host/requests/lock_waits.py",
        "if record is None or (space.slots is not None and not space.slots.shows(name)):",
        "if record is None:",
        "who frees it does so in another group, and nothing wakes the client",
        test=_SLOTS,
    ),
    _plant(
        "requests for a slot that has gone are not planned again",
        "kraft/server/session.py",
        "            if segment.moved:",
        "            if False:",
        "the client is told of a move, which is none of its business",
        test=_MOVED,
    ),
    _plant(
        "what was done is planned again with what was not",
        "kraft/server/moved_segment.py",
        "enumerate(self.known) if reply is SLOT_MOVED]",
        "enumerate(self.known)]",
        "an increment takes effect twice",
        test=_MOVED,
    ),
    _plant(
        "a client waits in the new group as if it had just come",
        "kraft/server/segments.py",
        "max(0.0, seconds - (now - self.started))",
        "seconds",
        "who said how long it waits for a lock waits longer",
        test=_MOVED,
    ),
    _plant(
        "a script runs in a group that its keys have left",
        "kraft/host/requests/evaluation.py",
        "slots.refusal(declared(command).written) is CommandFailure.NOT_OWNER:",
        "False:",
        "it sees what the keys were, or its error tells of a foreign key",
        test=_MOVED,
    ),
    _plant(
        "a script sees hidden keys of its group",
        "kraft/server/lua/evaluator.py",
        "        return not overlay.slots.shows(key)",
        "        return False",
        "they are what is left of a move, or have come for one that may be cancelled",
        test=_MOVED,
    ),
    _plant(
        "a transaction over groups ends without a plan for a slot that has gone",
        "kraft/host/transactions/coordinator.py",
        '    StepOutcome.NOT_OWNER: ("refused", CommandFailure.NOT_OWNER),\n',
        "",
        "each attempt goes to the same group, until the time is over",
        test=_COORDINATOR,
    ),
    _plant(
        "SCAN shows hidden keys",
        "kraft/server/commands/scan.py",
        "if table.shows(key) and first <= slot_of(key) <= last",
        "if first <= slot_of(key) <= last",
        "a key comes twice, from the source and from the receiver",
        test=_MOVED,
    ),
    _plant(
        "groups are looked at while a slot goes from one to another",
        "kraft/server/slot_cover.py",
        "if not any(self._seen.values()):",
        "if True:",
        "a key comes twice, or is missed",
        test=_ALL_KEYS,
    ),
    _plant(
        "SCAN returns keys of slots of other shares",
        "kraft/server/commands/scan.py",
        "if table.shows(key) and first <= slot_of(key) <= last",
        "if table.shows(key)",
        "a key comes twice",
        test=_ALL_KEYS,
    ),
    _plant(
        "SCAN returns keys after the end of a group that has ended earlier",
        "kraft/server/commands/scan.py",
        "for key in keys if position_of(key) < end]",
        "for key in keys]",
        "a key comes twice",
        test=_ALL_KEYS,
    ),
    _plant(
        "a flush does not look whether slots have moved",
        "kraft/server/flush_rounds.py",
        "if seen == self._before:",
        "if True:",
        "a key stays whose slot has moved to a group that was flushed before",
        test=_ALL_KEYS,
    ),
    _plant(
        "KEYS shows hidden keys",
        "kraft/server/commands/scan.py",
        "piece if shown is None else list(filter(shown, piece))",
        "piece",
        "a key comes twice, from the source and from the receiver",
        test=_MOVED,
    ),
    _plant(
        "KRAFT RANGE shows hidden keys",
        "kraft/server/commands/key_range.py",
        "            if slots is not None and not slots.shows(key):",
        "            if False:",
        "a key comes twice, once with an old value",
        test=_MOVED,
    ),
    _plant(
        "an Activate is restored before its Freeze",
        "kraft/kv/transaction_order.py",
        "return _state(machine, number) != MoveState.OPEN or any(_frozen(machines, number))",
        "return True",
        "the slot has two owners",
        test=_ORDER,
    ),
    _plant(
        "a Release is restored before its Activate",
        "kraft/kv/transaction_order.py",
        "_state(machines[part.peer], number) == MoveState.ACTIVE for part",
        "True for part",
        "nobody has the slot",
        test=_ORDER,
    ),
    _plant(
        "frozen slots stay so after a restore",
        "kraft/kv/transaction_order.py",
        "            _conclude_move(machine, machines[part.peer], part)",
        "            pass",
        "no client can use them",
        test=_ORDER,
    ),
)
