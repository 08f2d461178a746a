"""Mistakes in the steps of transactions over several groups: each breaks a rule of the design page.

Most are those of the model on which the design rests. The search in a small scope finds them, or else the
tests that a mutation names.
"""

from typing import Any, NamedTuple

from tests.simulation.mutation import Mutation


class TransactionMutation(NamedTuple):
    """A mistake, and the test file that finds it where the small scope does not.

    `moves` is the small scope of moves that finds it, if that is not the one of transactions; `once` is that
    of a token.
    """

    mutation: Mutation
    test: str = ""
    moves: dict[str, Any] | None = None
    once: bool = False


def _plant(
    name: str, file: str, line: str, mutated: str, why: str, test: str = "", *, once: bool = False
) -> TransactionMutation:
    return TransactionMutation(Mutation(name, f"kraft/kv/{file}.py", line, mutated, why), test, once=once)


STEPS = "tests/kv/test_transactions.py"
STATE = "tests/kv/test_transaction_state.py"
LOCKS = "tests/kv/test_lock_table.py"
DISK = "tests/storage/test_transactions.py"

TRANSACTION_MUTATIONS = (
    # -- decisions
    _plant(
        "a Commit that meets a lock decides nothing",
        "transactions",
        "        _finish(state, id_, committed=False)\n        reason,",
        "        reason,",
        "a copy of it that comes late commits what its coordinator gave up",
    ),
    _plant(
        "Decide records no abort",
        "transactions",
        "    _finish(state, command.id, committed=False)\n    return _reply(StepOutcome.ABORTED)",
        "    return _reply(StepOutcome.ABORTED)",
        "a Commit that comes later commits what the holders have dropped",
    ),
    _plant(
        "home drops the id with the decision",
        "transactions",
        "            _finish(state, decision.id, committed=True)",
        "            pass",
        "a Commit that comes twice is executed twice",
    ),
    _plant(
        "the first confirmation ends a decision",
        "transactions",
        "        if waiting:\n            row",
        "        if False:\n            row",
        "the second participant, when it asks, hears of an abort",
        STEPS,
    ),
    _plant(
        "a Commit without a look at locks",
        "transactions",
        "    if obstacle is not None:\n",
        "    if obstacle is not None and False:\n",
        "two transactions have the same key",
        STEPS,
    ),
    _plant(
        "a Commit without a look at watched keys",
        "transactions",
        "    if not space.unchanged(work.watched):",
        "    if False:",
        "EXEC takes effect although a watched key has changed",
        STEPS,
    ),
    # -- age and marks
    _plant(
        "too old means abort, to the coordinator",
        "transactions",
        "StepOutcome.ABORTED if command.holder else StepOutcome.TOO_OLD",
        "StepOutcome.ABORTED",
        "it was committed, confirmed and forgotten: the transaction is executed again",
    ),
    _plant(
        "a late Commit means abort",
        "transactions",
        "        return _reply(StepOutcome.TOO_OLD)\n    if id_.name in",
        "        return _reply(StepOutcome.ABORTED)\n    if id_.name in",
        "it was committed, confirmed and forgotten: the transaction is executed again",
    ),
    _plant(
        "age is not refused",
        "transactions",
        "    return id_.start + LIFE_MS <= state.stamp or",
        "    return",
        "what became of the transaction is forgotten: a late step is executed a second time",
    ),
    _plant(
        "numbers below the mark are not refused",
        "transactions",
        " or id_.number < _mark(state, id_.session)",
        "",
        "what became of them is forgotten: a late step is executed a second time",
    ),
    _plant(
        "a mark forgets the transaction that it names",
        "transaction_index",
        "while heap and heap[0] < mark:",
        "while heap and heap[0] <= mark:",
        "the coordinator still drives it",
        STEPS,
    ),
    _plant(
        "a mark ends when it is given",
        "transactions",
        'mark.to_bytes(NUMBER_BYTES, "big"), id_.start + LIFE_MS',
        'mark.to_bytes(NUMBER_BYTES, "big"), state.stamp',
        "what it made the group forget would be taken again",
    ),
    _plant(
        "a mark goes back",
        "transactions",
        "    if mark > _mark(state, id_.session):",
        "    if mark:",
        "numbers that are forgotten would be taken again",
        STEPS,
    ),
    # -- participants
    _plant(
        "a participant forgets what is resolved",
        "transactions",
        "        _finish(state, id_, committed=command.commit, revision=revision)\n",
        "",
        "a Prepare that comes late is prepared again, and installed a second time",
    ),
    _plant(
        "what is prepared shows at once",
        "transactions",
        "        space.transactions.hold(hold)",
        "        space.transactions.hold(hold)\n        prepared.install(state)",
        "before home's entry nothing shows",
    ),
    _plant(
        "a Resolve takes effect when it aborts",
        "transactions",
        "        if command.commit:\n",
        "        if True:\n",
        "all or nothing",
    ),
    _plant(
        "a repeated Prepare runs again",
        "transactions",
        "    if row is not None:\n        prepared = decode_prepared(row.value)\n    elif",
        "    if",
        "its coordinator acts on replies that are not those of what takes effect",
        STEPS,
    ),
    # -- locks
    _plant(
        "what is read is not locked",
        "lock_table",
        "        if shared:\n",
        "        if False:\n",
        "a value that the transaction rests on changes before it commits",
    ),
    _plant(
        "reads in the log look through exclusive locks",
        "lock_table",
        "for name in (*footprint.written, *footprint.read) if name in exclusive}",
        "for name in footprint.written if name in exclusive}",
        "a reader sees the transaction in one group and not in the other",
    ),
    _plant(
        "reads look through exclusive locks",
        "lock_table",
        "or not self.exclusive.keys().isdisjoint(names)",
        "",
        "a reader sees the transaction in one group and not in the other",
    ),
    _plant(
        "a locked key expires",
        "keyspace",
        "                if transactions.prepared and transactions.locks.holds(key):",
        "                if False:",
        "a value that the transaction rests on goes before it commits",
    ),
    _plant(
        "a key that fell due under a lock stays",
        "keyspace",
        "        self.due.unpark()\n",
        "",
        "it expires when its lock goes",
        STATE,
    ),
    _plant(
        "a lock does not hold for the entry that takes it",
        "machine",
        "                if prepared or space.slots is not None:\n",
        "                if space.slots is not None:\n",
        "a write after it in the same entry would be lost, or change what was read",
        STATE,
    ),
    _plant(
        "commands go on after one that meets a lock",
        "machine",
        "CommandFailure.LOCKED if held_up else self.refused(command)",
        "self.refused(command)",
        "commands of one connection would change their order",
        STATE,
    ),
    _plant(
        "a Resolve waits for what stands before it",
        "machine",
        "            if type(command) not in STEPS:",
        "            if type(command) not in STEPS or held_up:",
        "it waits for a command that waits for its lock",
        STATE,
    ),
    _plant(
        "a flush looks at no lock of a key",
        "lock_table",
        "        if footprint.whole:\n            found",
        "        if False:\n            found",
        "it removes what a transaction has locked",
        LOCKS,
    ),
    # -- state
    _plant(
        "a restarted replica has no locks",
        "machine",
        "        index_transactions(keyspace)",
        "        pass",
        "locks are state: a failover would lose half of a transaction",
    ),
    _plant(
        "a restarted replica forgets open decisions",
        "transactions",
        "            index.decisions[key[1:]] = _decode_decided(row.value).decision",
        "            pass",
        "nobody ends what the coordinator left",
    ),
    _plant(
        "the revision is that of Prepare",
        "prepared",
        "change.revision or state.revision, change.expires)\n            elif",
        "change.revision or self.provisional, change.expires)\n            elif",
        "another change has that revision: WATCH and KRAFT CAS would take one for the other",
        STEPS,
    ),
    _plant(
        "prepared changes are left out of the checkpoint",
        "ledger",
        "        taken, self._changes = self._changes, noting(self._noted, {})",
        "        taken = {k: r for k, r in self._changes.items() if k[0] != 4}\n"
        "        self._changes = noting(self._noted, {})",
        "a replica that starts from it would not know what to install",
        DISK,
    ),
    # -- tokens of KRAFT ONCE
    _plant(
        "the Commit of a token does not look for it",
        "transactions",
        "    token = settled(space.ledger, state.stamp, command.token)",
        "    token = None",
        "two attempts take effect",
        once=True,
    ),
    _plant(
        "a token is remembered in a group that does not have its slot",
        "transactions",
        "    strays = space.slots is not None and space.slots.refusal((command.token.key,)) is not None",
        "    strays = False",
        "the next attempt looks for it where its slot is",
        "tests/server/test_cross_group_once.py",
    ),
    _plant(
        "a token is remembered, and what home has prepared is dropped",
        "transactions",
        "    decode_prepared(row.value).install(state)\n    _release(state, id_)\n    remember(",
        "    _release(state, id_)\n    remember(",
        "the client is told that it was done",
        once=True,
    ),
    _plant(
        "a token is not remembered with the effects",
        "transactions",
        "    remember(state, command.token, decode_replies(command.reply)[0])\n",
        "",
        "the next attempt takes effect again",
        once=True,
    ),
    _plant(
        "the Commit of a token records no decision",
        "transactions",
        "    _record(state, id_, command.participants, None)\n    return _reply(StepOutcome.COMMITTED)",
        "    return _reply(StepOutcome.COMMITTED)",
        "the participant asks, and hears of an abort",
        once=True,
    ),
    _plant(
        "the locks of home stay when its token is remembered",
        "transactions",
        "    _release(state, id_)\n    remember(",
        "    remember(",
        "nobody else may use the keys until home asks itself",
        "tests/kv/test_once_over_groups.py",
    ),
    _plant(
        "a token that is known leaves what home has prepared",
        "transactions",
        "        if row is not None:\n            _release(state, id_)\n",
        "",
        "its locks stay until the leader looks for them",
        "tests/kv/test_once_over_groups.py",
    ),
    _plant(
        "the token of several groups goes with no slot",
        "once",
        '[number.to_bytes(2, "big") for number in (1, slot_of(command.key))]',
        '[number.to_bytes(2, "big") for number in (0,)]',
        "it stays behind when the slot of its key moves",
        "tests/server/test_cross_group_once.py",
    ),
)
