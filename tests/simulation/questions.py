"""What clients of the simulated cluster ask: the keys that they use, and each operation as a command."""

import zlib
from dataclasses import dataclass
from functools import partial
from typing import Any

from kraft.kv.commands import (
    AppendValue,
    Condition,
    Delete,
    Exec,
    Expiry,
    Flush,
    GetDelete,
    Increment,
    Put,
    ScriptCall,
    Set,
    SetMany,
    SetRange,
)
from kraft.kv.commands.keys import KeyCommand
from kraft.kv.commands.lock import LockCommand
from kraft.kv.commands.strings import StringCommand
from tests.simulation import locks, once, scripts, transactions
from tests.simulation.linearizability import FLUSH, READ, SET_IF_UNCHANGED, SWAP
from tests.simulation.process import Process
from tests.simulation.scripts import LIST_SCRIPT
from tests.simulation.transactions import LISTS, TRANSACTION

STRINGS = (b"a", b"b", b"c")
COUNTERS = (b"n", b"m")
EXPIRING = (b"e", b"f")
SELDOM = b"r"  # a string that is missing most of the time
ELEMENTS = b"s"  # a set: elements are only appended to it, each after a bar
PAIR = b"p"  # a register of two keys that are always written together, with the same value
OTHER_OF_PAIR = b"q"
LIST = LISTS[0]  # stands for all lists
WATCHED = (*STRINGS, *EXPIRING, SELDOM)  # single keys that are set if they have not changed
READ_TOGETHER = {PAIR: (PAIR, OTHER_OF_PAIR), LIST: LISTS, locks.LOCK: (locks.LOCK, locks.PROTECTED)}
KEYS = (*STRINGS, *COUNTERS, *EXPIRING, SELDOM, ELEMENTS, PAIR, LIST, locks.LOCK)
STALE_READ = "glance"
READS = (READ, STALE_READ)
MOST_MS = 3_000  # of the longest expiry


@dataclass(frozen=True, slots=True)
class Question:
    """An operation that has no answer yet."""

    process: Process
    home: int
    group: int  # that is asked: the one which has the home, as far as the node knows
    key: bytes
    name: str
    argument: Any
    mark: bytes
    called: float
    alone: bool = False  # its command is sent as a transaction of one command
    script: str = ""  # how a script carries it out, see `scripts`


def command(question: Question) -> Any:
    """The write as the client port would hand it to the host."""
    if question.name == TRANSACTION:
        return transactions.on_lists(question.argument, question.mark)
    if question.name == SET_IF_UNCHANGED:
        return transactions.set_if_unchanged(question.key, question.argument)
    if question.name == LIST_SCRIPT:
        return scripts.on_lists(question.argument, question.mark)
    if question.name in scripts.CALLS:
        return scripts.calling(question.name)
    if question.name == once.ONCE:
        return once.command(question.argument, partial(_wrapped, question))
    return _wrapped(question, _plain(question))


def _wrapped(question: Question, plain: Any) -> Any:
    """A command as it is, through a script, or in a transaction."""
    scripted = question.script and question.name != SWAP
    step = scripts.through_script(plain, question.script) if scripted else plain
    return Exec((), (step,)) if question.alone else step


def _plain(question: Question) -> StringCommand | KeyCommand | LockCommand | ScriptCall:
    key, name, argument = question.key, question.name, question.argument
    if name == SWAP:
        return scripts.swap(key, argument)
    if name == FLUSH:
        return Flush()
    if key == PAIR:
        return SetMany((PAIR, argument, OTHER_OF_PAIR, argument))
    if key == locks.LOCK:
        return locks.command(name, argument)
    if name == "set":
        return Put(key, argument)
    if name == "set for a while":
        stay = 1 + zlib.crc32(question.mark) % MOST_MS  # any number will do
        return Set(key, argument, expiry=Expiry.RELATIVE, expiry_ms=stay)
    if name == "set until":
        value, time_ms = argument
        return Set(key, value, expiry=Expiry.ABSOLUTE, expiry_ms=time_ms)
    if name == "set if missing":
        return Set(key, argument, condition=Condition.IF_MISSING)
    if name == "append":
        return AppendValue(key, argument)
    if name == "overwrite":
        return SetRange(key, *argument)
    if name == "delete":
        return Delete((key,))
    if name == "take":
        return GetDelete(key)
    return Increment(key, argument)


def size(question: Question) -> int:
    """The approximate size of the request in bytes."""
    return 8 + len(question.mark) + (len(question.argument) if isinstance(question.argument, bytes) else 8)
