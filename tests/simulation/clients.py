"""Clients of the simulated cluster: each runs one operation at a time on any node and records the results.

They also use paused nodes, which answer, if at all, after they resume.

Each write carries a second command with a unique mark in the same batch. In addition to the histories, the
log therefore shows at the end which writes took effect, and how often.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from kraft.host.requests.round import View
from kraft.kv.commands import Put, decode
from kraft.kv.excerpt import Excerpt
from kraft.kv.replies import CommandFailure
from kraft.node.errors import Refused
from tests.simulation import lock_waits, locks, once, scripts, transactions
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.history import History
from tests.simulation.linearizability import FLUSH, INFINITY, READ, SET_IF_UNCHANGED, Operation
from tests.simulation.lock_waits import Wait
from tests.simulation.logged import waiter
from tests.simulation.process import Process
from tests.simulation.question_source import QuestionSource
from tests.simulation.questions import (
    EXPIRING,
    LIST,
    OTHER_OF_PAIR,
    PAIR,
    READ_TOGETHER,
    READS,
    SELDOM,
    STALE_READ,
    Question,
    command,
    size,
)
from tests.simulation.scripts import LIST_SCRIPT
from tests.simulation.transactions import TRANSACTION
from tests.simulation.violation import demand

UNMARKED = (*READS, locks.WAIT)
MORTAL = (*EXPIRING, SELDOM, locks.LOCK, once.COUNTED)  # keys that expire, and one with tokens that do
NOBODY_SECONDS = 2.0  # the longest pause between attempts to find a node


class SimulatedClient:
    """Sends a request to a random live node, waits for the answer or gives up, pauses, and repeats."""

    def __init__(self, cluster: SimulatedCluster, history: History, number: int) -> None:
        self._habits = cluster.habits
        self._cluster = cluster
        self._world = cluster.world
        self._dice = cluster.world.dice(f"client {number}")
        self._homes = cluster.homes
        self._source = QuestionSource(cluster, number, self._dice)
        self._wait: Wait | None = None
        self._history = history
        self._number = number
        self._open: Question | None = None
        self.stopped = False
        cluster.on_crash.append(self._crashed)

    def start(self) -> None:
        self._think(self._habits.thinking)

    def stop(self) -> None:
        """Send nothing more; the outcome of an open request stays unknown."""
        self.stopped = True
        if self._open is not None:
            self._ended(self._open, "unknown")

    def _crashed(self, process: Process) -> None:
        """The connection to a node that died is closed."""
        if self._open is not None and self._open.process is process:
            self._ended(self._open, "unknown")

    # -- asking

    def _think(self, longest: float) -> None:
        if not self.stopped:
            self._world.call_later(self._dice.uniform(0.001, longest), self._ask)

    def _ask(self) -> None:
        if self.stopped:
            return
        # Rarely a paused node: otherwise all clients would soon wait for it.
        paused_too = self._dice.random() < 0.15
        ready = [p for p in self._cluster.processes() if p.ready and (paused_too or not p.clock.paused)]
        if not self._habits.strangers:
            members = self._cluster.members()
            ready = [p for p in ready if p.id in members]
        if not ready:
            self._think(NOBODY_SECONDS)
            return
        question = self._source.draw(self._dice.choice(ready))
        if question.name == locks.WAIT and self._dice.random() < lock_waits.SAME_NODE:
            group = self._homes.group(ready[0].host, question.home)  # as that node knows it
            question = replace(question, process=ready[0], group=group)
        self._open = question
        if question.name not in UNMARKED:
            self._history.fates.setdefault(question.home, {})[question.mark] = "unknown"
        question.process.clock.run(lambda: self._send(question))
        patience = question.argument[2] if question.name == locks.WAIT else self._habits.patience
        self._world.call_later(patience, lambda: self._ended(question, "unknown"))

    def _send(self, question: Question) -> None:
        host, group, home = question.process.host, question.group, question.home
        keys = partial(self._keys_of, question)
        checked = self._homes.moving and host.slots.groups > 1
        if question.name == STALE_READ:
            host.read_stale(group, partial(self._glanced, question, checked), keys)
        elif question.name == READ and group not in host.groups:
            names = [self._homes.key(home, name) for name in READ_TOGETHER.get(question.key, (question.key,))]
            host.read_keys(group, lambda: names, partial(self._viewed, question, True))
        elif question.name == READ and checked:
            host.read_keys(group, keys, partial(self._viewed, question, checked))
        elif question.name == READ:
            host.read(group, partial(self._viewed, question, checked))
        elif question.name == locks.WAIT:
            self._send_wait(question)
        else:
            commands = [command(question), Put(b"@%d" % self._number, question.mark)]
            commands = self._homes.commands(home, commands)
            host.write(group, commands, size(question), partial(self._written, question))

    def _keys_of(self, question: Question) -> list[bytes]:
        """Any key will do: all keys of a home have one slot. A read of all lists looks at no other ones."""
        return [self._homes.key(question.home, question.key)] if self._homes.moving else []

    def _send_wait(self, question: Question) -> None:
        """Ask for the lock, and leave when the client has given it up."""
        if self._open is not question:
            return
        owner = waiter(self._number, self._source.count)
        ttl_ms, seconds, _ = question.argument
        name = self._homes.key(question.home, locks.LOCK)
        wait = Wait(question.process, question.group, name, owner, ttl_ms, question.called)
        self._history.waits.began(self._world, wait, seconds, lambda outcome: self._waited(question, outcome))
        self._wait = wait

    # -- answers

    def _viewed(self, question: Question, checked: bool, outcome: View | Exception) -> None:
        """Handle the answer of a read; if it was not `checked`, the host has not looked who owns the keys."""
        if not isinstance(outcome, View):
            demand(isinstance(outcome, Refused), f"a read ended with {outcome!r}")
            self._ended(question, "refused")
            return
        if not checked and outcome.keyspace.slots is not None:
            self._world.counts["read not owner"] += 1
            self._ended(question, "refused")  # as `ReadSegment`
            return
        elsewhere = isinstance(outcome.keyspace, Excerpt)
        outcome = self._homes.view(question.home, outcome)
        keyspace = outcome.keyspace
        value = keyspace.get(question.key)
        due = keyspace.expires(question.key)
        demand(not due or due > outcome.now_ms, f"{question.key!r} is seen after its expiry")
        if question.key == PAIR:
            demand(value == keyspace.get(OTHER_OF_PAIR), "half of a batch is seen")
        self._source.remember(question, outcome, elsewhere=elsewhere)
        if question.key == LIST:
            self._ended(question, "done", transactions.survey(outcome))
        elif question.key == locks.LOCK:
            self._ended(question, "done", locks.looked_at(keyspace))
        else:
            self._ended(question, "done", value)

    def _glanced(self, question: Question, checked: bool, outcome: View | Exception) -> None:
        """Handle the answer of a stale read, which may be old within the configured bound."""
        owned = isinstance(outcome, View) and (checked or outcome.keyspace.slots is None)
        if isinstance(outcome, View) and owned:
            self._cluster.checks.recent(question.process, question.group)
            keyspace = self._homes.view(question.home, outcome).keyspace
            pair = keyspace.get(PAIR), keyspace.get(OTHER_OF_PAIR)
            demand(pair[0] == pair[1], "half of a batch is seen")
            self._world.counts["stale read"] += 1
        elif not isinstance(outcome, View):
            demand(isinstance(outcome, Refused), f"a stale read ended with {outcome!r}")
        self._ended(question, "done" if owned else "refused")

    def _written(self, question: Question, outcome: Any) -> None:
        replies = outcome if isinstance(outcome, list) and self._homes.moving else []
        if question.name == FLUSH and CommandFailure in map(type, replies):
            # The group has not all slots, which one in a transaction needs; or not the home of the mark.
            self._ended(question, "refused" if isinstance(replies[0], CommandFailure) else "unknown")
        elif replies and isinstance(outcome[1], CommandFailure):
            alike = outcome[0] in (outcome[1], CommandFailure.PREMATURE)  # that one was never logged
            demand(alike, f"a slot has moved for one of two commands: {outcome}")
            self._world.counts[f"write {outcome[1].name.lower()}"] += 1
            self._ended(question, "refused")
        elif isinstance(outcome, list):
            self._cluster.checks.acknowledged(question.process, question.group, question.mark)
            if question.group not in question.process.host.groups:
                self._world.counts["write elsewhere"] += 1
            demand(len(outcome) == 2 and outcome[1] == "OK", f"the replies are not those asked: {outcome}")
            self._ended(question, "done", self._result(question, outcome[0]))
        else:
            self._ended(question, "refused" if isinstance(outcome, Refused) else "unknown")

    def _waited(self, question: Question, outcome: Any) -> None:
        """Handle the outcome of a wait for the lock. `Waits` has it for the judge."""
        if isinstance(outcome, list) and isinstance(outcome[0], CommandFailure):
            self._world.counts[f"wait {outcome[0].name.lower()}"] += 1
            self._ended(question, "refused")
        elif isinstance(outcome, list):
            (reply,) = outcome
            self._world.counts[f"wait {'done' if reply[0] else 'in vain'}"] += 1
            if self._open is question:
                self._source.tokens.answered(question.home, question.name, reply)
            self._ended(question, "done", reply)
        else:
            self._ended(question, "refused" if isinstance(outcome, Refused) else "unknown")

    def _result(self, question: Question, reply: Any) -> Any:
        """The result of an operation, from the reply to its command."""
        if question.alone and isinstance(reply, list):  # else the leader did not log it
            _, _, (reply,) = reply
        if scripts.in_vain(reply):
            changed = f"what {question.mark!r} read in a script has changed, and it does not expire"
            entry = self._cluster.checks.committed[question.group].entry_of(question.mark)
            mortal = self._homes.keys(MORTAL) if self._homes.moving else MORTAL
            demand(question.key in MORTAL or scripts.concern(decode(entry.data), mortal), changed)
            self._world.counts["script in vain"] += 1
            return scripts.IN_VAIN
        if question.script:
            reply = scripts.plain(reply)
            self._world.counts[f"write by a script {question.script}"] += 1
            if reply == scripts.UNDONE:
                return reply
        elif question.name in scripts.CALLS:
            reply = scripts.called(reply)
        if question.name == FLUSH:
            self._world.counts["flush"] += 1
        elif question.name == "set until":
            self._until_answered(question, reply)
        elif question.name == SET_IF_UNCHANGED:
            reply = transactions.outcome(question.argument, reply)
        if question.name in (SET_IF_UNCHANGED, TRANSACTION):
            self._world.counts["transaction aborted" if reply is None else "transaction done"] += 1
        elif question.key == locks.LOCK:
            done = locks.took_effect(question.name, reply)
            self._world.counts[f"{question.name} {'done' if done else 'without effect'}"] += 1
            if self._open is question:  # else the client has given it up
                self._source.tokens.answered(question.home, question.name, reply)
        return reply

    def _until_answered(self, question: Question, reply: Any) -> None:
        if reply == CommandFailure.PREMATURE:
            self._world.counts["expiry premature"] += 1
            return
        stamp = self._cluster.checks.committed[question.group].entry_of(question.mark).stamp
        self._cluster.vigil.expiry_acknowledged(question.process, question.group, question.argument[1], stamp)

    def _ended(self, question: Question, fate: str, result: Any = None) -> None:
        """Record the first outcome of a request; later ones do not count."""
        if self._open is not question:
            return
        self._open = None
        history = self._history
        wait, self._wait = self._wait, None
        if wait is not None and not wait.answered:
            question.process.clock.run(partial(history.waits.left, wait))
        setattr(history, fate, getattr(history, fate) + 1)
        self._world.note(f"client {self._number} {question.name} {fate} {result}")
        homes = [question.home]
        if question.name == FLUSH and self._homes.moving:
            homes = list(range(self._homes.count))  # all that the group had, so the log tells which
        if question.name not in UNMARKED:
            for home in homes if fate == "refused" else (question.home,):
                history.fates.setdefault(home, {})[question.mark] = fate
        if question.key == LIST:
            self._attempted(question, fate, result)
        elif fate != "refused" and question.name not in (STALE_READ, locks.WAIT):
            returned = self._world.now if fate == "done" else INFINITY
            operation = Operation(
                question.name, question.argument, question.called, returned, result, script=question.script
            )
            for home in homes:
                history.add(home, question.key, question.mark, operation)
        if question.name not in UNMARKED:
            self._source.perhaps_again(question, fate)
        self._think(self._habits.thinking)

    def _attempted(self, question: Question, fate: str, reply: Any) -> None:
        """Record a transaction on lists."""
        marked, called, now = question.mark, question.called, self._world.now
        attempts = self._history.attempts.setdefault(question.home, [])
        if question.name == TRANSACTION:
            attempts.append(transactions.attempt(question.argument, marked, called, now, fate, reply))
        elif question.name == LIST_SCRIPT:
            attempts += scripts.attempts_on_lists(question.argument, marked, called, now, fate, reply)
        elif question.name == READ and fate == "done":
            attempts.append(transactions.surveyed(marked, called, now, reply))
