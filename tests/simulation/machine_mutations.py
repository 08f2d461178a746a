"""Mistakes in transactions and locks: what the state machine does with them, and how they reach it."""

from tests.simulation.mutation import Mutation

MACHINE_MUTATIONS = (
    # -- transactions
    Mutation(
        "a transaction in one piece does not look at what is watched",
        "kraft/server/multi_queue.py",
        "if not (state.watched or state.rights",
        "if not (state.rights",
        "WATCH may come long before the rest",
        test="tests/server/test_transactions.py",
    ),
    Mutation(
        "a transaction in one piece is forgotten when slots move",
        "kraft/server/transaction_segment.py",
        "        state.multi = MultiState(",
        "        MultiState(",
        "nothing of it was queued, and EXEC alone is planned again",
        test="tests/server/test_created_groups.py",
    ),
    Mutation(
        "watched keys never change",
        "kraft/kv/keyspace.py",
        "            if self.revision(watch.key) != watch.revision:\n                return False\n",
        "",
        "a transaction whose key has changed executes nothing",
    ),
    Mutation(
        "a watched key that came and went is unchanged",
        "kraft/kv/keyspace.py",
        "if not watch.revision and self.removals.possible(watch.key, watch.seen):",
        "if False:",
        "a missing key may have existed since it was watched",
        100,
    ),
    Mutation(
        "a key that expires was never there",
        "kraft/kv/keyspace.py",
        "                    self.remove(key)\n                    count += 1",
        "                    self.removals, kept = Removals(), self.removals\n"
        "                    self.remove(key)\n                    self.removals = kept\n"
        "                    count += 1",
        "an expiry is a removal as well",
        200,
    ),
    Mutation(
        "a key falls due at the time that it had before",
        "kraft/kv/due_times.py",
        "            self.live -= 1\n            self._remove(key, old)\n",
        "            self.live -= 1\n",
        "a client was told that the key lives longer",
        test="tests/kv/test_due_times.py",
    ),
    Mutation(
        "keys due in the middle of a block are lost",
        "kraft/kv/due_times.py",
        "if each >= middle",
        "if each > middle",
        "they would live for ever",
        test="tests/kv/test_due_times.py",
    ),
    Mutation(
        "the earliest due time stays when its key has gone",
        "kraft/kv/due_times.py",
        "        if expires == self._first:\n            self._first = None\n",
        "",
        "the leader would log entries for nothing",
        test="tests/kv/test_due_times.py",
    ),
    Mutation(
        "rows of one time are forgotten in the order in which they came",
        "kraft/kv/ledger.py",
        "for key in sorted(due)[: most - count]",
        "for key in due[: most - count]",
        "replicas that were loaded have them in another order",
        test="tests/kv/test_due_times.py",
    ),
    Mutation(
        "a restored machine remembers removals that it did not see",
        "kraft/kv/machine.py",
        "keyspace.removals.forget(revision)",
        "pass",
        "a checkpoint does not hold the removals: replicas would decide differently",
        200,
    ),
    Mutation(
        "removals outlive the checkpoint",
        "kraft/kv/machine.py",
        "self.keyspace.removals.forget(self.revision)",
        "pass",
        "a replica that starts from the checkpoint has forgotten them",
        200,
    ),
    Mutation(
        "an aborted transaction is executed",
        "kraft/kv/machine.py",
        "if not state.keyspace.unchanged(command.watched):\n        return None",
        "if not state.keyspace.unchanged(command.watched):\n"
        "        for step in command.steps:\n"
        "            if type(step) in FUNCTIONS:\n"
        "                FUNCTIONS[type(step)](state, step)\n"
        "        return None",
        "all or nothing",
    ),
    Mutation(
        "reads of a transaction come before its writes",
        "kraft/kv/excerpt.py",
        "self._keyspace = keyspace\n",
        "self._keyspace = Keyspace()\n        self._keyspace.records = {**keyspace.records}\n",
        "the steps run in their order",
    ),
    Mutation(
        "transactions watch from later on than they read",
        "kraft/host/requests/read_rounds.py",
        "View(keyspace, read_at(max(confirmed.stamp, stamp), keyspace), revision)",
        "View(keyspace, read_at(max(confirmed.stamp, stamp), keyspace), revision + 9)",
        "what was removed in between would pass unnoticed",
        100,
    ),
    Mutation(
        "uncertain transactions sent again",
        "kraft/host/requests/forwarding.py",
        "if reply.outcome == NOT_PROPOSED:",
        "if reply.outcome == NOT_PROPOSED or (reply.outcome != DONE and any(\n"
        "            type(c) is kv.Exec for p in proposals for c in p.commands)):",
        "the leader may have logged it: its watched keys do not make it idempotent",
        400,
    ),
    # -- flushes
    Mutation(
        "a flush passes unseen by those who watch a missing key",
        "kraft/kv/state.py",
        "space.removals.forget(self.revision)",
        "pass",
        "every key may have come since it was watched, and went with the flush",
        200,
    ),
    Mutation(
        "flushed keys stay in the copy",
        "kraft/kv/machine.py",
        "base, self.revision, changes, self.version, cleared, space",
        "base, self.revision, changes, self.version, False, space",
        "the checkpoint would bring them back",
        100,
    ),
    # -- tokens of KRAFT ONCE
    Mutation(
        "a token is forgotten at a restart",
        "kraft/kv/machine.py",
        "machine.version = version\n",
        "machine.version = version\n        keyspace.ledger = type(keyspace.ledger)()\n",
        "tokens are state: a command sent again after a failover takes effect once",
    ),
    Mutation(
        "tokens are left out of snapshots",
        "kraft/storage/state/view.py",
        "if self._has_ledger else",
        "if False else",
        "a replica that was sent a snapshot knows them, too",
        200,
    ),
    Mutation(
        "a token that is known is used again",
        "kraft/kv/once.py",
        "    if row is None or row.expires <= stamp:\n",
        "    if True:\n",
        "a command takes effect once for each token",
    ),
    Mutation(
        "a later reply instead of the first",
        "kraft/kv/once.py",
        "return known.reply",
        "found = state.keyspace.get(getattr(command.command, 'key', b''))\n"
        "        return int(found or 0) or known.reply",
        "the client acts on what its first attempt did",
    ),
    # -- locks
    Mutation(
        "any token holds a lock that is taken",
        "kraft/kv/locks.py",
        "return token > 0 and state.keyspace.revision(name) == token",
        "return name in state.keyspace",
        "a holder whose lock expired would write after the next one",
    ),
    Mutation(
        "guarded commands do not look at the lock",
        "kraft/kv/machine.py",
        "if not locks.holds(state, command.name, command.token):",
        "if False:",
        "the token is checked in the same step as the write",
    ),
    Mutation(
        "tokens begin anew with each lock",
        "kraft/kv/locks.py",
        "space.put(command.name, command.owner, state.revision, expires)\n"
        "        return [1, state.revision, expires, stamp]",
        "space.put(command.name, command.owner, 1, expires)\n        return [1, 1, expires, stamp]",
        "a token is never used again",
    ),
    Mutation(
        "an expired lock is extended",
        "kraft/kv/locks.py",
        "    if not holds(state, command.name, command.token):\n        return 0\n"
        "    record = state.keyspace.records[command.name]\n"
        "    expires = state.due(Expiry.RELATIVE, command.ttl_ms)\n"
        "    state.keyspace.put(command.name, record.value, record.revision, expires)",
        "    if command.name in state.keyspace and not holds(state, command.name, command.token):\n"
        "        return 0\n"
        "    expires = state.due(Expiry.RELATIVE, command.ttl_ms)\n"
        '    state.keyspace.put(command.name, b"", command.token, expires)',
        "what is lost stays lost: another holder may have come and gone",
    ),
    Mutation(
        "an extended lock gets another token",
        "kraft/kv/locks.py",
        "state.keyspace.put(command.name, record.value, record.revision, expires)",
        "state.revision += 1\n    state.keyspace.put(command.name, record.value, state.revision, expires)",
        "its holder would lose it by extending it",
    ),
    Mutation(
        "a lock that is given again ends as before",
        "kraft/kv/locks.py",
        "space.put(command.name, record.value, record.revision, expires)\n"
        "    return [1, record.revision, expires, stamp]",
        "return [1, record.revision, expires, stamp]",
        "its holder would count on a longer time",
        100,
    ),
    Mutation(
        "a lock without an owner is given twice",
        "kraft/kv/locks.py",
        "if not command.owner or record.value != command.owner:",
        "if record.value != command.owner:",
        "no owner is not the same owner",
    ),
    Mutation(
        "a lock is freed by any token",
        "kraft/kv/locks.py",
        "    if not holds(state, command.name, command.token):\n        return 0\n"
        "    return state.remove((command.name,))",
        "    return state.remove((command.name,))",
        "a late client would free the lock of the next holder",
    ),
)
