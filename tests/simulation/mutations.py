"""One-line mistakes in core, host and storage, each of which the simulator must find within so many seeds.

A line is given as it stands in the source, without what surrounds it, and must be there exactly once. `seeds`
is a few times what is needed today; a mistake that needs more says that the simulator has become blind to
its kind.
"""

from typing import NamedTuple


class Mutation(NamedTuple):
    """`line` of `file` becomes `mutated`; `why` says what is wrong with that."""

    name: str
    file: str
    line: str
    mutated: str
    why: str
    seeds: int = 40


MUTATIONS = (
    # -- consensus: elections
    Mutation(
        "own log counted before the disk has it",
        "kraft/raft/leader.py",
        "matches[core.id] = core.log.durability.durable if core.elector else 0",
        "matches[core.id] = core.log.last_index if core.elector else 0",
        "a leader counts itself by its durable index (RD 10.2.1)",
    ),
    Mutation(
        "learners elect",
        "kraft/raft/membership.py",
        "if self.target is None:\n            return self.voters",
        "if self.target is None:\n            return (*self.voters, *self.learners)",
        "learners have no say",
        100,
    ),
    Mutation(
        "entries of earlier terms committed by counting",
        "kraft/raft/leader.py",
        "if index > core.commit and index >= self.noop_index:",
        "if index > core.commit:",
        "only entries of the present term are committed by counting (RP figure 8)",
        150,
    ),
    Mutation(
        "vote answered before it is durable",
        "kraft/raft/voting.py",
        "core.send_durable(sender, VoteReply(core.term, granted, core.wall_clock()))",
        "core.send(sender, VoteReply(core.term, granted, core.wall_clock()))",
        "vote and term are on stable storage before the reply (RD 3.8)",
    ),
    Mutation(
        "two votes in a term",
        "kraft/raft/voting.py",
        "return core.vote == sender or (not core.vote and not core.leader)",
        "return True",
        "one vote for each term and node",
    ),
    Mutation(
        "votes for shorter logs",
        "kraft/raft/log.py",
        "return (last_term, last_index) >= (self.last_term, self.last_index)",
        "return True",
        "a leader has all that is committed (RP 5.4.1)",
    ),
    Mutation(
        "candidate asks before its own vote is durable",
        "kraft/raft/candidate.py",
        "core.send_durable(voter, ask)",
        "core.send(voter, ask)",
        "a candidate's own vote is a promise as well",
    ),
    Mutation(
        "a new term keeps the vote of the old one",
        "kraft/raft/core.py",
        'self._enter(term, "")',
        "self._enter(term, self.vote)",
        "votes belong to a term; nobody could be elected, or twice",
    ),
    Mutation(
        "messages of earlier terms are taken",
        "kraft/raft/core.py",
        "elif term < self.term:",
        "elif False:",
        "a deposed leader would go on (RP 5.1)",
        60,
    ),
    # -- consensus: the log
    Mutation(
        "entries acknowledged before they are durable",
        "kraft/raft/follower.py",
        "core.send_durable(sender, AppendReply(core.term, last))",
        "core.send(sender, AppendReply(core.term, last))",
        "acknowledged means durable (tikv issue 994)",
    ),
    Mutation(
        "entries taken for committed",
        "kraft/raft/follower.py",
        "core.commit_to(min(message.commit, last))",
        "core.commit_to(last)",
        "what one node holds the next leader may replace (RP 5.3)",
        60,
    ),
    Mutation(
        "every append truncates",
        "kraft/raft/log.py",
        "if not self.matches(entry.index, entry.term):",
        "if True:",
        "only a conflict truncates: messages may be old (RP 5.3)",
    ),
    Mutation(
        "log not compared before entries are taken",
        "kraft/raft/follower.py",
        "elif not log.matches(previous, message.prev_term):",
        "elif previous > log.last_index:",
        "the consistency check of AppendEntries (RP 5.3)",
        150,
    ),
    Mutation(
        "late completion speaks for replaced entries",
        "kraft/raft/durability.py",
        "self._writes = deque((sequence, min(last, index - 1)) for sequence, last in self._writes)",
        "pass",
        "the ABA trap of asynchronous writes",
        400,
    ),
    Mutation(
        "applied before it is durable here",
        "kraft/raft/core.py",
        "applied, upto = self.applied, min(self.commit, self.log.durability.durable)",
        "applied, upto = self.applied, self.commit",
        "what is applied must not be lost with the power",
    ),
    Mutation(
        "truncation not written",
        "kraft/raft/durability.py",
        "self._truncate_from = index if self._truncate_from is None else min(index, self._truncate_from)",
        "pass",
        "rows that were replaced must go with the same write",
    ),
    Mutation(
        "heartbeat tells of entries that are not there",
        "kraft/raft/leader.py",
        "commit = min(progress.match, core.commit)",
        "commit = core.commit",
        "a follower may hold others at those places, or none",
    ),
    # -- consensus: reads
    Mutation(
        "reads without a round",
        "kraft/raft/leader.py",
        "core.reads += self._reads.release(core.quorum.attained(rounds))",
        "core.reads += self._reads.release(self._round)",
        "a deposed leader would serve old values (RD 6.4)",
        100,
    ),
    Mutation(
        "read index without the no-op",
        "kraft/raft/leader.py",
        "index = max(core.commit, self.noop_index, floor)",
        "index = min(core.commit, 1)",
        "a read waits for all that was committed before it",
    ),
    Mutation(
        "stale heartbeats answered with their round",
        "kraft/raft/core.py",
        "self.send(sender, HeartbeatReply(self.term, 0, self.wall_clock()))",
        "self.send(sender, HeartbeatReply(self.term, message.round, self.wall_clock()))",
        "rounds are counted anew in each term: found by the simulator in our own code",
        60,
    ),
    # -- consensus: members, snapshots, transfer
    Mutation(
        "joint decisions by one half",
        "kraft/raft/quorum.py",
        "return min(self.old.attained(numbers), self.new.attained(numbers))",
        "return self.new.attained(numbers)",
        "both majorities decide in a joint configuration (RD 4.3)",
        100,
    ),
    Mutation(
        "configuration survives its truncation",
        "kraft/raft/configurations.py",
        "while len(self._indices) > 1 and self._indices[-1] >= index:",
        "while False:",
        "a change that is taken back was never made",
        200,
    ),
    Mutation(
        "uncommitted configuration in a snapshot",
        "kraft/raft/configurations.py",
        "position = max(bisect_right(self._indices, index) - 1, 0)",
        "position = len(self._indices) - 1",
        "a copy carries the configuration in force at its index (scylladb 9551)",
        100,
    ),
    Mutation(
        "snapshot throws away matching entries",
        "kraft/raft/snapshotting.py",
        "if core.log.matches(base.index, base.term):",
        "if False:",
        "entries behind the base may have been acknowledged (RP 7)",
        500,
    ),
    Mutation(
        "snapshot acknowledged before it is durable",
        "kraft/raft/snapshotting.py",
        "core.send_durable(core.leader, AppendReply(core.term, base.index))",
        "core.send(core.leader, AppendReply(core.term, base.index))",
        "the same promise as for entries",
        60,
    ),
    # -- host
    Mutation(
        "uncertain writes sent again",
        "kraft/host/forwarding.py",
        "if reply.outcome == NOT_PROPOSED:",
        "if reply.outcome != DONE:",
        "what the leader may have logged is not proposed once more (redisraft issue 13)",
        100,
    ),
    Mutation(
        "reads do not wait until applied",
        "kraft/host/reads.py",
        "while self._confirmed and self._confirmed[0][0] <= applied:",
        "while self._confirmed:",
        "the read index must be applied before the answer",
    ),
    Mutation(
        "any answer confirms the round",
        "kraft/host/reads.py",
        "if found is None or found.ctx != ctx:",
        "if found is None:",
        "a late answer would confirm a later read (etcd issue 20418)",
        100,
    ),
    Mutation(
        "batches matched by index alone",
        "kraft/host/proposals.py",
        "            if batch.index == index and batch.term == term:\n                ours = batch\n"
        "            else:\n                self.again(batch.proposals)\n        if self._overtaken:",
        "            if batch.index == index:\n                ours = batch\n"
        "            else:\n                self.again(batch.proposals)\n        if self._overtaken:",
        "another leader's entry at that index is not ours",
        150,
    ),
    Mutation(
        "lease counted from the answer",
        "kraft/host/serving.py",
        "self._lease = (term, begun + self._timing.lease)",
        "self._lease = (term, self._clock.seconds() + 20 * self._timing.lease)",
        "voters promise from when they were asked, and not for long",
        100,
    ),
    Mutation(
        "due keys stay readable",
        "kraft/host/serving.py",
        "if due is None or due > now:",
        "if True:",
        "a key is gone at its expiry, by log time",
        60,
    ),
    Mutation(
        "checkpoint of the present taken for a marker of the past",
        "kraft/host/group.py",
        "base = replace(self.node.base_at(entry.index), stamp=entry.stamp)",
        "base = replace(self.node.base_at(entry.index - 1), stamp=entry.stamp)",
        "index and contents of a checkpoint belong together (etcd v3.5)",
    ),
    Mutation(
        "log cut beyond the checkpoint",
        "kraft/host/checkpoints.py",
        "return max(base, min(last, most, base + CUT_ENTRIES))",
        "return max(base, min(last + 3, most + 3, base + CUT_ENTRIES))",
        "the log is cut only behind a durable checkpoint (redisraft issue 43)",
        60,
    ),
    Mutation(
        "restored machine without its stamp",
        "kraft/host/applying.py",
        "self.machine = Machine.restored(received.keyspace, base.stamp, received.image.revision)",
        "self.machine = Machine.restored(received.keyspace, 0, received.image.revision)",
        "time is part of the state",
        60,
    ),
    Mutation(
        "restored machine counts revisions anew",
        "kraft/host/applying.py",
        "self.machine = Machine.restored(received.keyspace, base.stamp, received.image.revision)",
        "self.machine = Machine.restored(received.keyspace, base.stamp, 0)",
        "replicas would differ in what they write next",
        60,
    ),
    Mutation(
        "a snapshot without its index",
        "kraft/host/applying.py",
        "self.index = base.index",
        "pass",
        "what is in the machine would be applied again, or waited for",
        60,
    ),
    Mutation(
        "messages leave before the write they wait for",
        "kraft/host/group.py",
        "around.persistence.add(self, ready.persist, ready.send_after_persist)",
        "around.persistence.add(self, ready.persist, [around.post(o.to, self.id, o.message) for o in"
        " ready.send_after_persist][:0])",
        "the order of effects is the whole point of `Ready`",
    ),
    Mutation(
        "a full disk passes for durable",
        "kraft/host/persistence.py",
        "        if not durable:\n",
        "        if False:\n",
        "nothing of it was written",
    ),
    Mutation(
        "removed keys stay in the copy",
        "kraft/kv/keyspace.py",
        "self._changes[key] = None",
        "pass",
        "a removal is a change: the copy would keep the key",
        60,
    ),
    Mutation(
        "changes of a failed checkpoint forgotten",
        "kraft/host/checkpoints.py",
        "machine.keyspace.give_back(capture.changes)",
        "pass",
        "the next checkpoint would lack them",
        100,
    ),
    # -- storage
    Mutation(
        "heads of the logs not followed",
        "kraft/storage/logdatabase.py",
        "self._heads.update(staged.heads)",
        "pass",
        "each row continues the checksum of the one before",
    ),
    Mutation(
        "commits not synced",
        "kraft/storage/database.py",
        '("synchronous", "FULL", 2),',
        '("synchronous", "OFF", 0),',
        "a power cut loses what COMMIT promised",
        60,
    ),
    Mutation(
        "truncation leaves the last row",
        "kraft/storage/log.py",
        "cursor.execute(_DELETE, (base + first, base + INDEX_MASK))",
        "cursor.execute(_DELETE, (base + first + 1, base + INDEX_MASK))",
        "a row that was replaced must go",
        60,
    ),
    Mutation(
        "votes not written",
        "kraft/storage/logdatabase.py",
        "state.write_hard_state(self._cursor, group, wanted)",
        "pass",
        "a vote that a restart forgets is given twice",
    ),
    Mutation(
        "base not written",
        "kraft/storage/logdatabase.py",
        "if row != self.replica(group):",
        "if False:",
        "where the log begins must survive a restart",
        60,
    ),
    Mutation(
        "switch forgets the state file",
        "kraft/storage/logdatabase.py",
        "row = Replica(persist.state, row.base, row.chain)",
        "row = Replica(row.state, row.base, row.chain)",
        "log and state file change in one transaction",
        100,
    ),
    Mutation(
        "orphans win",
        "kraft/storage/statefiles.py",
        "if number != int(match[2]) and (not number or file_names(group, number)[0] in names):",
        "if number == int(match[2]) and (not number or file_names(group, number)[0] in names):",
        "the file that counts is the one the log names",
        60,
    ),
    Mutation(
        "removed keys stay in the state file",
        "kraft/storage/statedatabase.py",
        "gone.append(key)",
        "gone = [*gone]",
        "a removal is a change",
        60,
    ),
    Mutation(
        "received rows without their expiry",
        "kraft/storage/statereceiver.py",
        "database.put([stored_row(*row) for row in rows[at : at + PIECE_KEYS]], self._totals)",
        "database.put([stored_row(*row[:3], 0) for row in rows[at : at + PIECE_KEYS]], self._totals)",
        "expiries are part of a snapshot; its sum says so",
        100,
    ),
    Mutation(
        "shorter log passes the high-water mark",
        "kraft/storage/loading.py",
        "if lack := found.behind(written):",
        "if lack := None:",
        "SQLite drops damaged frames and all after them without a word",
        300,
    ),
)
