"""Mistakes in how a node serves groups that it has no replica of."""

from tests.simulation.mutation import Mutation

_ABSENT = "tests/host/test_absent_groups.py"
_EXCERPT = "tests/kv/test_excerpt.py"
_IMAGES = "tests/host/test_scattered_images.py"

ABSENT_MUTATIONS = (
    Mutation(
        "the last place that was told counts",
        "kraft/host/absent/directory.py",
        "if known is not None and _order(known) >= _order(place):",
        "if known == place:",
        "what comes later may be older: the highest term counts",
        test=_ABSENT,
    ),
    Mutation(
        "a place that the link did not take is not told again",
        "kraft/host/absent/absent_groups.py",
        "self.reports.unsent(peer)",
        "pass",
        "a node that knows no place cannot serve the group",
        test=_ABSENT,
    ),
    Mutation(
        "a node without the group is silent when it is asked",
        "kraft/host/absent/absent_groups.py",
        'post(peer, group, ReadKeysReply(message.request, NOT_READ, b""))',
        "pass",
        "the read of another node waits for the end of its time",
        test=_ABSENT,
    ),
    Mutation(
        "writes over a lost link are sent again",
        "kraft/host/absent/remote_writes.py",
        'self._observe("uncertain", self._forwarding.lost(peer))',
        "for request in list(self._forwarding._forwarded):\n"
        "            self._proposals.requeue(self._forwarding.unsent(request))",
        "the leader may have logged them",
        test=_ABSENT,
    ),
    Mutation(
        "a member reads for another node without its leader",
        "kraft/host/requests/asked_reads.py",
        "self._waits.read(lambda: names, partial(self._viewed, peer, message), message.fresh)",
        "self._waits.read_stale(lambda: names, partial(self._viewed, peer, message))",
        "what was read may be old",
        test="tests/host/test_reads_elsewhere.py",
    ),
    Mutation(
        "writes that were sent elsewhere are made here as well",
        "kraft/host/absent/remote_writes.py",
        "        self._raise_waits.raised()\n        for proposal in self._proposals.take_all():",
        "        self._raise_waits.raised()\n"
        "        for request in list(self._forwarding._forwarded):\n"
        "            self._proposals.requeue(self._forwarding.unsent(request))\n"
        "        for proposal in self._proposals.take_all():",
        "the leader executes them, too, once the node has a replica",
        run="tests.simulation.run:run_replicas",
    ),
    Mutation(
        "a read finds keys elsewhere without their revisions",
        "kraft/kv/excerpt.py",
        "            found.append((name, record.value, record.revision, record.expires))",
        "            found.append((name, record.value, revision, record.expires))",
        "WATCH misses a change",
        run="tests.simulation.run:run_replicas",
    ),
    Mutation(
        "a missing key of an excerpt was never removed",
        "kraft/kv/excerpt.py",
        "return bound is None or revision < bound",
        "return bound is None",
        "a key that came and went counts for WATCH",
        test=_EXCERPT,
    ),
    Mutation(
        "a key that was left out of an excerpt is missing",
        "kraft/kv/excerpt.py",
        "_CutRecords(records, bounds) if self.cut else records",
        "records",
        "it has to be read again",
        test=_ABSENT,
    ),
    Mutation(
        "a silent member is waited for",
        "kraft/host/absent/remote_reads.py",
        "elif not question.asked or now >= question.asked_at + self._patience:",
        "elif not question.asked:",
        "another member can read as well",
        test=_ABSENT,
    ),
    Mutation(
        "a write that meets a lock elsewhere is refused",
        "kraft/host/absent/remote_writes.py",
        "elif self._clock.seconds() >= write.deadline:",
        "else:\n            self._settle(write, outcome)\n            return\n        if False:",
        "it waits at the leader, as those of other nodes",
        test=_ABSENT,
    ),
    Mutation(
        "only replicas tell where slots are",
        "kraft/host/slots.py",
        "self._learn(plan.ranges if plan else ())",
        "pass",
        "a node may have a replica of neither group of a move",
        test=_ABSENT,
    ),
    Mutation(
        "a checkpoint that is lent is closed though it is in use",
        "kraft/host/backup/pinned_images.py",
        "            reader.keep()\n",
        "            pass\n",
        "the rows of other groups may take longer to read",
        test=_IMAGES,
    ),
    Mutation(
        "what an image has lost the answer to stays pinned",
        "kraft/host/backup/lent_checkpoints.py",
        "        self._give_up(group, command.image)\n",
        "",
        "no other image of the group can be opened for minutes",
        test=_IMAGES,
    ),
    Mutation(
        "a leader sends entries that it has not applied",
        "kraft/host/backup/lent_logs.py",
        "last = min(command.last, self._groups[group].state.index)",
        "last = command.last",
        "a leader that is about to be deposed: the shipped log has entries that were never committed",
        test="tests/backup/test_scattered_logs.py",
    ),
    Mutation(
        "a marker that another leader has missed is waited for",
        "kraft/host/backup/pinned_images.py",
        "            if outcome is None:\n                opening.missed = True",
        "            if outcome is None:\n                pass",
        "the image needs other markers",
        test=_IMAGES,
    ),
    Mutation(
        "the first part of a large piece is all of it",
        "kraft/host/backup/remote_checkpoints.py",
        "if size < total and data:",
        "if False:",
        "a row may be larger than the message of an administrator",
        test=_IMAGES,
    ),
    Mutation(
        "who waits for a lock whose slot has gone is not told",
        "kraft/host/absent/remote_locks.py",
        "self._waits.ask_again()",
        "pass",
        "the lock is in another group by now",
        test="tests/host/test_absent_locks.py",
    ),
    Mutation(
        "a new group has a replica on every node",
        "kraft/host/lifecycle.py",
        "if moves and each is beginning.EMPTY]",
        "if False]",
        "a node that is no member would wait for a leader for ever",
        test="tests/host/test_created_replicas.py",
    ),
    Mutation(
        "a survivor is recovered as a replica that has left",
        "kraft/storage/offline/recovery.py",
        "return Member(own.id, own.incarnation, found.member.peer)",
        "return found.member",
        "the number tells the replicas of a node apart",
        test="tests/storage/test_last_replicas.py",
    ),
)
