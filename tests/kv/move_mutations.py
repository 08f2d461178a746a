"""Mistakes in the steps of moves of slots: each breaks a rule of docs/design/slots.md.

Those of the model on which the design rests are among them. The search in a small scope finds a mistake, or
else the tests of the steps.
"""

from typing import Any

from tests.kv.transaction_mutations import TransactionMutation
from tests.simulation.mutation import Mutation

STEPS = "tests/kv/test_moves.py"
ONCE: dict[str, Any] = {"moves": 1, "once": True}
CLOCKS: dict[str, Any] = {"moves": 1, "clocks": True}
PART: dict[str, Any] = {"moves": 1, "transaction": "participant"}
HOME: dict[str, Any] = {"moves": 1, "transaction": "home"}


def _plant(
    name: str, file: str, line: str, mutated: str, why: str, moves: dict[str, Any] | None = None
) -> TransactionMutation:
    mutation = Mutation(name, f"kraft/kv/{file}.py", line, mutated, why)
    return TransactionMutation(mutation, "" if moves else STEPS, moves)


MOVE_MUTATIONS = (
    # -- the source
    _plant(
        "a slot with locks is frozen",
        "moves",
        "    if state.keyspace.transactions.locks.in_slots(command.first, command.last):",
        "    if False:",
        "the transaction ends in a group that has the keys no more",
        PART,
    ),
    _plant(
        "a frozen slot is in use",
        "slots",
        "        if SlotState.FROZEN in states or",
        "        if",
        "what is written after the last changes were sent is lost; what is read is old",
        ONCE,
    ),
    _plant(
        "a slot that is gone is in use",
        "slots",
        "        if SlotState.GONE in states:",
        "        if False:",
        "two groups serve it",
        ONCE,
    ),
    _plant(
        "Freeze does not look at epochs",
        "moves",
        "part.state != SlotState.OWN or part.epoch >= command.number for part",
        "part.state != SlotState.OWN for part",
        "a copy that comes late freezes a slot that has come back",
    ),
    _plant(
        "Freeze does not compare the receiver",
        "moves",
        " and part.peer == command.receiver for part",
        " for part",
        "a number that was given twice makes two owners",
    ),
    _plant(
        "Unfreeze thaws whatever is frozen",
        "moves",
        "SlotState.OWN, number) if _is_frozen(part, number) else part",
        "SlotState.OWN, number) if part.state == SlotState.FROZEN else part",
        "a copy that comes late thaws a slot that is about to leave by another move",
    ),
    _plant(
        "Unfreeze does not use up the number",
        "moves",
        "table.use_up(command.first, command.last, number)  # a Freeze",
        "pass  # a Freeze",
        "a Freeze that comes after it freezes the slot, for nobody",
    ),
    _plant(
        "Release takes slots that are not frozen",
        "moves",
        "not all(_is_frozen(part, command.number) for part in parts):",
        "False:",
        "a copy that comes late takes a slot that has come back",
    ),
    # -- the receiver
    _plant(
        "a move that is cancelled becomes active",
        "moves",
        "        return _reply(MoveOutcome.CANCELLED)\n    if space.transactions",
        "        pass\n    if space.transactions",
        "two owners: the source has thawed",
    ),
    _plant(
        "Cancel of an active move",
        "moves",
        "    if move is not None and move.state == MoveState.ACTIVE:\n        return",
        "    if False:\n        return",
        "two owners: the source thaws",
        ONCE,
    ),
    _plant(
        "Cancel does not use up the number",
        "moves",
        "    table.use_up(command.first, command.last, command.number)\n    save_ranges",
        "    save_ranges",
        "an Open that comes later opens the move again",
    ),
    _plant(
        "Open where keys are left",
        "moves",
        "    if expected or any(",
        "    if any(",
        "keys of an earlier move would be taken for those of this one",
    ),
    _plant(
        "Open of what the group owns",
        "moves",
        "    if expected or any(part.state != SlotState.GONE for part in parts):",
        "    if expected:",
        "its keys would be overwritten",
    ),
    _plant(
        "an Import of a move that is over",
        "moves",
        "    if move.state == MoveState.OPEN and move.chunk == command.chunk:",
        "    if move.chunk == command.chunk:",
        "it brings back what has changed since",
    ),
    _plant(
        "an Import has its effect twice",
        "moves",
        "    if move.state == MoveState.OPEN and move.chunk == command.chunk:",
        "    if move.state == MoveState.OPEN:",
        "an old value comes after a newer one",
    ),
    _plant(
        "keys are not compared",
        "moves",
        "    if command.chunk != move.chunk or counted != (command.keys, command.sum):",
        "    if command.chunk != move.chunk:",
        "what the mover has lost is lost",
    ),
    _plant(
        "the receiver keeps its own revision",
        "moves",
        "    state.revision = max(state.revision, command.revision)\n",
        "",
        "a revision comes twice: WATCH and KRAFT CAS take one change for another",
    ),
    _plant(
        "missing keys count as never there",
        "moves",
        "space.removals.forget(state.revision)  # what the source",
        "pass  # what the source",
        "EXEC takes effect although a watched key came and went in the source",
    ),
    _plant(
        "log time goes back",
        "moves",
        "    if state.stamp < command.stamp:",
        "    if False:",
        "a key lives longer than it was told to",
        CLOCKS,
    ),
    _plant(
        "active while a FLUSHALL is prepared",
        "moves",
        "    if space.transactions.locks.whole:  #",
        "    if False:  #",
        "it removes what was written after it",
    ),
    _plant(
        "tokens stay",
        "moves",
        "        if token.value is not None and",
        "        if False and",
        "a command with a token is executed again",
        ONCE,
    ),
    _plant(
        "a token of before keeps one out that came",
        "moves",
        "(known is None or known.expires < token.expires)",
        "known is None",
        "a command with a token is executed again",
    ),
    # -- both
    _plant(
        "Prepare and Commit do not ask who owns",
        "transactions",
        "    if space.slots is not None:\n        refused",
        "    if False:\n        refused",
        "a change takes effect in a group that has the keys no more",
    ),
    _plant(
        "a replica that starts anew knows no slots",
        "machine",
        "        keyspace.slots = saved_table(keyspace.ledger)\n",
        "",
        "two owners after a restart",
    ),
    _plant(
        "hidden and frozen keys expire",
        "keyspace",
        "                elif slots is not None and not slots.owns(key):",
        "                elif False:",
        "source and receiver count different keys, and the move never ends",
    ),
    _plant(
        "what fell due meanwhile stays",
        "moves",
        "    state.keyspace.due.bring_back()\n",
        "",
        "a key lives longer than it was told to",
    ),
    _plant(
        "a flush leaves moves open",
        "state",
        "            if move.state != MoveState.ACTIVE:",
        "            if False:",
        "what has come is gone, and the counts say that it is there",
    ),
    _plant(
        "a plain SET does not ask who owns its key",
        "machine",
        "                if slots is None or slots.owns(command.key):",
        "                if True:",
        "what is written in a slot that has gone is lost",
    ),
    _plant(
        "a plain SET does not ask who has locked its key",
        "machine",
        "            if type(command) is Put and not (prepared or held_up):",
        "            if type(command) is Put and not held_up:",
        "a transaction over several groups overwrites it",
    ),
    _plant(
        "a plain SET overtakes what is held up before it",
        "machine",
        "            if type(command) is Put and not (prepared or held_up):",
        "            if type(command) is Put and not prepared:",
        "commands of one client change their order",
    ),
    _plant(
        "hidden keys are counted",
        "keyspace",
        "len(self.records) if slots is None else max(0, len(self.records) - slots.hidden)",
        "len(self.records)",
        "DBSIZE counts a key in two groups",
    ),
)


def _plant_in_mover(
    name: str, file: str, line: str, mutated: str, why: str, test: str = "test_mover"
) -> TransactionMutation:
    mutation = Mutation(name, f"kraft/host/moves/{file}.py", line, mutated, why)
    return TransactionMutation(mutation, f"tests/host/{test}.py", None)


def _plant_in_waits(
    name: str, file: str, line: str, mutated: str, why: str, test: str
) -> TransactionMutation:
    mutation = Mutation(name, f"kraft/host/{file}.py", line, mutated, why)
    return TransactionMutation(mutation, f"tests/host/{test}.py", None)


def _plant_in_map(name: str, line: str, mutated: str, why: str) -> TransactionMutation:
    mutation = Mutation(name, "kraft/kv/slot_map.py", line, mutated, why)
    return TransactionMutation(mutation, "tests/kv/test_slot_map.py", None)


MOVER_MUTATIONS = (
    _plant_in_mover(
        "the source thaws by itself",
        "mover",
        "        self._ask(receiver, step, partial(self._told, frozen))",
        "        self._told(frozen, MoveReply(outcome=MoveOutcome.CANCELLED))",
        "the receiver may own the slots already",
    ),
    _plant_in_mover(
        "what changes during the copy is not sent",
        "source_copy",
        "        if self._noted.keys:",
        "        if False:",
        "the receiver has values of before",
    ),
    _plant_in_mover(
        "a flush during the copy goes unnoticed",
        "attempt",
        "if copy.cleared or copy.keyspace is not self._source.keyspace:",
        "if copy.keyspace is not self._source.keyspace:",
        "all keys are copied in vain, and their slots frozen, until their number does not agree",
    ),
    _plant_in_mover(
        "tokens are not sent",
        "source_copy",
        "[key for key in keys if key[0] == LedgerKind.TOKEN]",
        "[]",
        "a command that is repeated takes effect twice",
    ),
    _plant_in_mover(
        "nobody closes a move",
        "mover",
        "            self._ask(move.receiver, close, partial(self._closed, move), move)",
        "            self._end(move, moved=True)",
        "the receiver remembers it for good",
    ),
    _plant_in_mover(
        "a move that is stopped goes on",
        "mover",
        "        elif move.stopping:\n            self._cancel(move)",
        "        elif False:\n            self._cancel(move)",
        "KRAFT MOVE CANCEL does nothing",
    ),
    _plant_in_mover(
        "a locked slot is waited for until the attempt is over",
        "attempt",
        "            self._frozen_at = 0.0\n            self._send_after(RETRY_SECONDS)",
        "            self._froze = reply\n            self._send_after(RETRY_SECONDS)",
        "the attempt takes the slots for frozen, and activates them in the receiver",
    ),
    _plant_in_mover(
        "a change of the map is repeated at each tick",
        "mover",
        "        self._asked = None\n        self._troubles.pause(move)\n",
        "        self._asked = None\n",
        "where the replica of group 0 lags, twelve entries a second are logged there",
    ),
    _plant_in_mover(
        "a move that is stopped waits for the one before it",
        "mover",
        "            self._end_stopped(self._attempt.move)",
        "            pass",
        "KRAFT MOVE CANCEL takes effect after minutes, where the one before it is large",
    ),
    _plant_in_mover(
        "a step that stops a move is repeated at each tick",
        "mover",
        "        if self._asked is not None:\n            return\n",
        "        if self._asked is not None and self._attempt is None:\n            return\n",
        "each tick logs a Cancel in the receiver, as long as it does not answer",
    ),
    _plant_in_mover(
        "hidden keys are not swept",
        "sweeper",
        "        if leads and not self._waits and self._left() is not None:",
        "        if False:",
        "the memory of keys that have gone is never free",
    ),
    _plant_in_mover(
        "a planned move does not wake its source",
        "moves",
        "        self._wake(self._slots.sources)\n",
        "",
        "the move begins when the group has hibernated for ten seconds",
    ),
    _plant_in_mover(
        "nobody notes when slots are in use again",
        "mover",
        "        elif self._frozen_since and not frozen:",
        "        elif False:",
        "the alert for frozen slots goes on",
    ),
    _plant_in_waits(
        "who waits for a slot waits until its source lets go",
        "requests/transaction_waits",
        "            return CommandFailure.NOT_OWNER if taken else refused",
        "            return refused",
        "a round more, in which nobody serves the slot",
        "test_move_pauses",
    ),
    _plant_in_waits(
        "who waits for a frozen slot is sent to a receiver that may cancel",
        "slots",
        "        return any(self.group_of(slot_of(key)) != group for key in frozen)",
        "        return bool(frozen)",
        "the request is refused by both groups, again and again",
        "test_slot_waits",
    ),
    _plant_in_mover(
        "the reply of the receiver is kept to the mover",
        "attempt",
        "        source.slots.taken(move.receiver, move.first, move.last, move.number)\n",
        "",
        "clients wait until the replica here has applied what the receiver has",
        "test_move_pauses",
    ),
    _plant_in_waits(
        "a step for which clients wait takes its turn",
        "requests/writes",
        "    if proposals.urgent:\n        return True\n",
        "",
        "slots are frozen for the time of two batches more",
        "test_move_pauses",
    ),
    _plant_in_mover(
        "what is copied and swept is under way all the time",
        "move_source",
        "        return min(self.clock.seconds() - begun, PAUSE_SECONDS_MAX)",
        "        return 0.0",
        "clients of all keys wait for it",
        "test_move_pauses",
    ),
    TransactionMutation(
        Mutation(
            "a key that comes is left out of the index by slots",
            "kraft/kv/slot_index.py",
            "            self._slots[slot] = untracked((*keys, key))\n",
            "",
            "its slot moves without it",
        ),
        "tests/kv/test_slot_index.py",
        None,
    ),
    TransactionMutation(
        Mutation(
            "an index is freed while a copy walks over it",
            "kraft/kv/key_index.py",
            "        if not self._walks:\n            garbage.add",
            "        if True:\n            garbage.add",
            "a copy that takes longer than ten minutes lacks keys",
        ),
        "tests/kv/test_slot_index.py",
        None,
    ),
    _plant_in_mover(
        "the keys of a copy are compared with themselves alone",
        "attempt",
        "        if index is not None and index.count(self.move.first, self.move.last) != copy.keys:",
        "        if False:",
        "a key that a copy has missed is lost",
    ),
    TransactionMutation(
        Mutation(
            "a slot with many keys has no index of its own",
            "kraft/kv/slot_index.py",
            "            if len(keys) >= SMALL_KEYS:",
            "            if False:",
            "where all keys have one hash tag, each that comes or goes copies a pointer to all of them",
        ),
        "tests/kv/test_slot_index.py",
        None,
    ),
    _plant_in_map(
        "several moves are planned on an old map",
        "    if (known.version, known.last) != (command.version, command.last):",
        "    if False:",
        "two plans at the same time give the same slots away, or more than there are",
    ),
    _plant_in_map(
        "a plan is carried out in part",
        "moves=(*known.moves, planned))\n",
        "moves=(*known.moves, planned))\n        _save(state, known)\n",
        "a group is split into parts that are not equal",
    ),
    _plant_in_mover(
        "a command that is repeated is refused",
        "planner",
        "if reply.outcome is MapOutcome.OVERLAPS and known is not None and _is_same(known, command):",
        "if False:",
        "after -UNCERTAIN nobody learns which move it is",
        "test_move_planner",
    ),
    _plant_in_mover(
        "a group is split while its slots move",
        "planner",
        "    if ids:\n",
        "    if False:\n",
        "the parts are computed from slots that go elsewhere",
        "test_move_planner",
    ),
    _plant_in_mover(
        "a created group gets slots without scripts",
        "planner",
        "[group for group in receivers if group >= self._slots.founded]",
        "[]",
        "a function is unknown to the keys that have moved",
        "test_move_planner",
    ),
    _plant_in_mover(
        "a split always creates groups",
        "planner",
        "        return [group for group in range(1, self._slots.groups) if group not in used]",
        "        return []",
        "one that is interrupted leaves groups that nobody uses, each time",
        "test_move_planner",
    ),
)
"""Mistakes of the leader of a source, of plans, and of the node that plans."""
