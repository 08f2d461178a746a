"""Mistakes in scripts, and in waiting for locks."""

from tests.simulation.mutation import Mutation

SCRIPT_MUTATIONS = (
    # -- scripts
    Mutation(
        "scripts do not wait for what is logged",
        "kraft/host/requests/writes.py",
        "self._script_waits = not self._all_applied",
        "self._script_waits = False",
        "a script reads the state that its entry will find",
        100,
    ),
    Mutation(
        "a script does not see the commands before it",
        "kraft/host/requests/evaluation.py",
        "                    self._overlay.apply((command,))\n",
        "",
        "what an earlier command of the batch writes is there for a script",
        100,
    ),
    Mutation(
        "a script is answered before its effects are committed",
        "kraft/host/requests/writes.py",
        "evaluated.commands, now, evaluated.replies))",
        "evaluated.commands, now, evaluated.replies))\n"
        "            if len(proposals) == 1 and 0 in evaluated.replies:\n"
        '                proposals[0].settle([evaluated.replies[0], "OK"])',
        "a later leader may not have them",
        100,
    ),
    Mutation(
        "half of what a script did before its error",
        "kraft/server/lua/evaluator.py",
        "self._steps[: self._loaded], []",
        "self._steps[: self._loaded + 1], []",
        "all or nothing",
        100,
    ),
    Mutation(
        "a script that fails takes those before it in its transaction along",
        "kraft/host/requests/evaluation.py",
        "                overlay.hold()\n",
        "",
        "a step that fails undoes itself only",
        100,
    ),
    Mutation(
        "scripts are in the cache of the leader only",
        "kraft/server/lua/evaluator.py",
        "            self._step(kv.LoadScript(script.sha, script.source, limits.cache_bytes))\n",
        "            self._overlay.step(kv.LoadScript(script.sha, script.source, limits.cache_bytes))\n",
        "EVALSHA works on every node, and with the next leader",
        100,
    ),
    Mutation(
        "the cache is left out of checkpoints",
        "kraft/kv/machine.py",
        "cleared, space.ledger.take_changes())",
        "cleared,\n            {k: v for k, v in space.ledger.take_changes().items() if k[0] != 2})",
        "the cache of scripts is state",
        100,
    ),
    Mutation(
        "the cache is left out of snapshots",
        "kraft/storage/state/view.py",
        "for row in cursor.execute(query, places):",
        "for row in [r for r in cursor.execute(query, places) if not (r[4] and r[0][0] == 2)]:",
        "a replica that was sent a snapshot has it, too",
        200,
    ),
    Mutation(
        "each step of a script takes a revision",
        "kraft/kv/machine.py",
        "    for step in command.steps:\n        state.revision = before\n        FUNCTIONS",
        "    for step in command.steps:\n        FUNCTIONS",
        "the overlay of the leader counts as the state machine does",
        100,
    ),
    Mutation(
        "what a script that failed has written is what its keys hold",
        "kraft/kv/overlaid_keyspace.py",
        "            self._now[key] = found\n            if before is _ABSENT:",
        "            if before is _ABSENT:",
        "a script that fails has done nothing, for those after it in the batch as well",
        test="tests/kv/test_overlay.py",
    ),
    Mutation(
        "what a script that failed has put into the cache is counted",
        "kraft/kv/overlaid_keyspace.py",
        "            (self.counts, self.sizes), self._held = self._held, None",
        "            self._held = None",
        "the leader has the limit of the cache that the state machine has",
        test="tests/kv/test_overlay.py",
    ),
    # -- clients that wait for locks
    Mutation(
        "a script is evaluated after a step of a move",
        "kraft/host/requests/evaluation.py",
        " or (stepped and proposal.scripted):",
        ":",
        "what the step changes is not on the overlay: the script would do nothing, and its client try again",
        test="tests/host/test_evaluation.py",
    ),
    Mutation(
        "a client that has left gets the lock",
        "kraft/host/requests/lock_waits.py",
        "if given and waiter.left:",
        "if False:",
        "nobody knows its token, so nobody would free it",
        100,
    ),
    Mutation(
        "the last one who came is the first",
        "kraft/host/requests/lock_waits.py",
        "queue.waiters.append(waiter)",
        "queue.waiters.insert(1, waiter)",
        "clients of a node get a lock in the order of their arrival",
        100,
    ),
    Mutation(
        "nobody asks when a lock expires",
        "kraft/host/requests/lock_waits.py",
        "        if queue.expires:\n            seconds",
        "        if False:\n            seconds",
        "a lock whose holder has died is given on",
        100,
    ),
    Mutation(
        "nobody sees that a lock is freed",
        "kraft/host/requests/lock_waits.py",
        "        for name, queue in list(self.queues.items()):\n"
        "            self._look(name, queue)\n\n    def refuse",
        "        pass\n\n    def refuse",
        "who waits is not asked to wait longer than that",
        100,
    ),
)
