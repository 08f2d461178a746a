"""Scripts in the simulator: what clients ask of them, and what a correct cluster replies.

The production evaluator runs them on the leader (`script_evaluator`). Four kinds:

- Any write of one key may go through a script, and sometimes that fails then: it must have done nothing.
- A swap reads a key and writes it if it has the expected value.
- Scripts append to several lists and read them, also in a transaction with other commands and with a script
  that fails halfway. The judge demands one order that explains them (`tests.serializability`).
- A counter is incremented by a script that is called by its SHA-1, and by a function of a library. The log
  shows the order of all calls, loads and flushes, so it is known which call must find its script.

The leader logs what a script has read. If a key that it read has changed in between, the script has done
nothing, and says so. Only an expiry can come in between: so no script on keys without one may end like that,
unless one before it in the same entry has, and the revisions of all that follows are others.
"""

from collections.abc import Collection, Sequence
from hashlib import sha1
from random import Random
from typing import Any, NamedTuple

from kraft.kv import commands as kv
from kraft.kv.replies import CommandFailure
from tests.serializability import APPEND, DONE, INFINITY, NOT_DONE, READ, UNKNOWN, Attempt
from tests.serializability import Operation as Step
from tests.simulation.linearizability import (
    FLUSH,
    SET_IF_UNCHANGED,
    SWAP,
    Model,
    Operation,
    Outcome,
)
from tests.simulation.linearizability import READ as GET
from tests.simulation.locks import LOCK, PROTECTED, TAKE, WAIT
from tests.simulation.transactions import LISTS, TRANSACTION, elements, looked_at
from tests.simulation.violation import Violation, demand

RUNS = 0.3  # how many runs have scripts
CALLED = b"k"  # the counter of a script that is called by its SHA-1, and of a function
LIST_SCRIPT = "script on lists"
COMPLETE, UNDONE = "complete", "undone"  # a script whose last command is an error is undone
IN_VAIN = "in vain"  # what the script had read has changed: `in_vain`


def sha_of(source: bytes) -> bytes:
    """What EVALSHA calls a script."""
    return sha1(source, usedforsecurity=False).hexdigest().encode()


def call(
    source: bytes, keys: Sequence[bytes], arguments: Sequence[bytes], mode: kv.ScriptMode = kv.ScriptMode.CALL
) -> kv.ScriptCall:
    """EVAL, or another way to call a script whose text is known."""
    return kv.ScriptCall(sha_of(source), source, tuple(keys), tuple(arguments), int(mode))


def in_vain(reply: Any) -> bool:
    """Whether a script, or the transaction that it is part of, did nothing: what it had read had changed."""
    return reply is CommandFailure.SCRIPT_CONFLICT


def concern(commands: Sequence[Any], keys: Collection[bytes]) -> bool:
    """Whether some of the commands of an entry look at one of `keys`, or use a token."""
    return any(_concerns(command, keys) for command in commands)


def _concerns(command: Any, keys: Collection[bytes]) -> bool:
    if type(command) is kv.Once:
        return True
    if type(command) is kv.Exec or type(command) is kv.Evaluated:
        read = (*command.watched, *getattr(command, "read", ()))
        return any(watch.key in keys for watch in read) or concern(command.steps, keys)
    named = (getattr(command, "key", b""), getattr(command, "name", b""), *getattr(command, "keys", ()))
    return any(name in keys for name in named)


# -- a write of one key through a script

_NAMED = b"""
local words = {}
for place, word in ipairs(ARGV) do words[place] = KEYS[tonumber(word:match('^@(%d+)$') or 0)] or word end
"""
ONE_COMMAND = _NAMED + b"return redis.call(unpack(words))"
ONE_COMMAND_UNDONE = _NAMED + b"redis.call(unpack(words)) error('undone')"
GUARD = b"""
if redis.call('KRAFT', 'REV', KEYS[1]) ~= tonumber(ARGV[1]) then return redis.error_reply('LOST') end
return redis.call('APPEND', KEYS[2], ARGV[2])
"""
SWAP_SCRIPT = b"""
local now = redis.call('GET', KEYS[1])
if now ~= (ARGV[2] or false) then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""


def through_script(command: Any, how: str) -> kv.ScriptCall:
    """The call of a script that does what `command` does, and then fails if it is to be UNDONE."""
    if type(command) is kv.Guarded and how == COMPLETE:
        written: Any = command.command
        return call(GUARD, (LOCK, PROTECTED), (b"%d" % command.token, written.value))
    source = ONE_COMMAND if how == COMPLETE else ONE_COMMAND_UNDONE
    keys = _keys(command)
    words = [b"@%d" % (keys.index(word) + 1) if word in keys else word for word in _words(command)]
    return call(source, keys, words)


def _keys(command: Any) -> tuple[bytes, ...]:
    """The keys that the script declares: in its arguments `@1` stands for the first one."""
    if type(command) is kv.Guarded:
        return command.name, *_keys(command.command)
    if type(command) is kv.Delete:
        return command.keys
    if type(command) is kv.SetMany:
        return command.pairs[::2]
    return (command.name if type(command) in (kv.Unlock, kv.Extend) else command.key,)


def _words(command: Any) -> tuple[bytes, ...]:
    """The request of a client for a command."""
    kind = type(command)
    if kind is kv.Put:
        return b"SET", command.key, command.value
    if kind is kv.Set:
        if command.condition is kv.Condition.IF_MISSING:
            return b"SET", command.key, command.value, b"NX"
        return b"SET", command.key, command.value, b"PX", b"%d" % command.expiry_ms
    if kind is kv.AppendValue:
        return b"APPEND", command.key, command.value
    if kind is kv.SetRange:
        return b"SETRANGE", command.key, b"%d" % command.offset, command.value
    if kind is kv.Increment:
        return b"INCRBY", command.key, b"%d" % command.amount
    if kind is kv.Delete:
        return b"DEL", *command.keys
    if kind is kv.GetDelete:
        return b"GETDEL", command.key
    if kind is kv.SetMany:
        return b"MSET", *command.pairs
    if kind is kv.Guarded:
        return b"KRAFT", b"GUARD", command.name, b"%d" % command.token, *_words(command.command)
    if kind is kv.Unlock:
        return b"KRAFT", b"UNLOCK", command.name, b"%d" % command.token
    return b"KRAFT", b"EXTEND", command.name, b"%d" % command.token, b"%d" % command.ttl_ms


def swap(key: bytes, argument: tuple[bytes | None, bytes]) -> kv.ScriptCall:
    """Set a key to the second value if it has the first one, None for a missing key: replies 1, else 0."""
    before, value = argument
    return call(SWAP_SCRIPT, (key,), (value,) if before is None else (value, before))


def plain(reply: Any) -> Any:
    """The reply of the command, from that of the script around it: UNDONE for one that failed, or IN_VAIN."""
    if in_vain(reply):
        return IN_VAIN
    if type(reply) is not list:
        return reply
    kind, text = reply
    if kind == "o":
        return text.decode()
    demand(kind == "e", f"a script replies {reply}")
    if b"undone" in text or text.startswith(b"LOCKLOST"):  # its command fails before it does
        return UNDONE
    demand(text.startswith((b"ERR LOST", b"LOST")), f"a script fails: {text!r}")
    return CommandFailure.LOCK_LOST


def with_scripts(model: Model) -> Model:
    """The model of a key that scripts write, too: one may do nothing, because it fails, or in vain."""

    def outcomes(state: Any, operation: Operation) -> list[Outcome]:
        if not operation.script:
            return model(state, operation)
        if operation.number != state.writes + 1:
            return []
        nothing = state._replace(writes=operation.number)
        if operation.in_vain:
            return [(nothing, IN_VAIN)]
        if operation.script == UNDONE:
            return [(nothing, UNDONE), (nothing, IN_VAIN)]
        certain = model(state, operation)
        return certain if operation.in_vain is False else [*certain, (nothing, IN_VAIN)]

    return outcomes


def took_effect(operation: Operation) -> bool:
    """Whether an operation did something, if it did not fail by itself."""
    return operation.script != UNDONE and operation.result != IN_VAIN


# -- lists

ON_LISTS = b"""
local found = {}
for place, key in ipairs(KEYS) do
    if ARGV[place] == '' then
        found[place] = redis.call('GET', key) or ''
    else
        found[place] = redis.call('APPEND', key, ARGV[place])
        if redis.pcall('INCR', key).err == nil then error('a list is a number') end
    end
end
if ARGV[#KEYS + 1] then error(ARGV[#KEYS + 1]) end
return found
"""
WAYS = ("eval", "eval", "evalsha", "once", "exec", "exec")


class ListScript(NamedTuple):
    """What one request does to the lists. Each step is APPEND or READ, and the list.

    `way` is one of WAYS. In "exec" a command comes before the script for each step in `first`, a script that
    fails has `failing` as its steps, and the transaction ends with a look at the first list.
    """

    way: str
    steps: tuple[tuple[str, bytes], ...]
    fails: bool
    first: tuple[tuple[str, bytes], ...] = ()
    failing: tuple[tuple[str, bytes], ...] = ()


def draw_lists(random: Random) -> ListScript:
    """A request. One in seven only reads, and one in seven fails."""
    way = random.choice(WAYS)
    kinds = (READ,) if random.random() < 0.15 else (APPEND, READ)
    steps = _drawn(random, kinds)
    fails = way != "exec" and random.random() < 0.15
    if way != "exec":
        return ListScript(way, steps, fails)
    return ListScript(way, steps, fails, _drawn(random, kinds), _drawn(random, (APPEND,)))


def _drawn(random: Random, kinds: Sequence[str]) -> tuple[tuple[str, bytes], ...]:
    return tuple([(random.choice(kinds), random.choice(LISTS)) for _ in range(random.randrange(1, 4))])


class _Named(NamedTuple):
    """The steps of a request, with the elements that they append: named after the request."""

    first: list[Step]
    failing: list[Step]
    steps: list[Step]


def _named(wanted: ListScript, marked: bytes) -> _Named:
    name, place, parts = marked.strip(b"<>").decode(), 0, []
    for steps in (wanted.first, wanted.failing, wanted.steps):
        part: list[Step] = []
        for kind, key in steps:
            part.append((kind, key.decode(), f"{name}-{place}" if kind == APPEND else None))
            place += 1
        parts.append(part)
    return _Named(*parts)


def _script(steps: Sequence[Step], *, fails: bool, sha_only: bool = False) -> kv.ScriptCall:
    """The call; a script that only reads may not write."""
    keys = [key.encode() for _, key, _ in steps]
    arguments = [f"|{element}".encode() if element else b"" for _, _, element in steps]
    only_reads = all(kind == READ for kind, _, _ in steps)
    mode = kv.ScriptMode.READ if only_reads else kv.ScriptMode.CALL
    found = call(ON_LISTS, keys, [*arguments, *([b"undone"] if fails else [])], mode)
    return kv.ScriptCall(found.sha, b"", found.keys, found.arguments, found.mode) if sha_only else found


def on_lists(wanted: ListScript, marked: bytes) -> Any:
    """The request as the client port would hand it to the host."""
    named = _named(wanted, marked)
    script = _script(named.steps, fails=wanted.fails, sha_only=wanted.way == "evalsha")
    if wanted.way == "once":
        return kv.Once(marked, bytes(16), script, 3_600_000)
    if wanted.way != "exec":
        return script
    before = [
        kv.AppendValue(key.encode(), f"|{element}".encode()) if element else kv.Look((key.encode(),))
        for _, key, element in named.first
    ]
    return kv.Exec((), (*before, _script(named.failing, fails=True), script, kv.Look(LISTS[:1])))


def attempts_on_lists(
    wanted: ListScript, marked: bytes, called: float, now: float, fate: str, reply: Any
) -> list[Attempt]:
    """What the checker has to explain. `fate` is done, refused or unknown."""
    name, named = marked.decode(), _named(wanted, marked)
    mine = [*named.first, *named.steps]
    appends = [step for step in mine if step[0] == APPEND]
    found = [Attempt(f"{name} undone", NOT_DONE, called, now, named.failing)] if named.failing else []
    if wanted.fails or fate == "refused":
        return [*found, Attempt(name, NOT_DONE, called, now, appends)]
    if fate == "unknown":
        return [*found, Attempt(name, UNKNOWN, called, INFINITY, appends)]
    if wanted.way == "exec":
        _, records, replies = reply
        *before, undone, reply, last = replies
        demand(b"undone" in undone[1], f"a script in a transaction replies {undone}")
        reads = [
            *(each if type(each) is int else looked_at(each, records) for each in before),
            *_replied(reply),
            looked_at(last, records),
        ]
        mine.append((READ, LISTS[0].decode(), None))
    elif type(reply) is list and reply[0] == "e":
        demand(reply[1].startswith(b"NOSCRIPT") and wanted.way == "evalsha", f"a script fails: {reply}")
        return [Attempt(name, NOT_DONE, called, now, appends)]
    else:
        reads = _replied(reply)
    steps: list[Step] = [
        (kind, key, element if kind == APPEND else value)
        for (kind, key, element), value in zip(mine, reads, strict=True)
    ]
    return [*found, Attempt(name, DONE, called, now, steps)]


def _replied(reply: Any) -> list[Any]:
    demand(type(reply) is list and reply[0] == "a", f"a script on lists replies {reply}")
    return [elements(found) if type(found) is bytes else found for found in reply[1:]]


# -- a script that is called by its SHA-1, and a function

COUNT = b"""
local n = redis.call('INCR', KEYS[1])
if ARGV[1] then error(ARGV[1]) end
return n
"""
LIBRARY = b"""#!lua name=counting
redis.register_function('count', function(keys) return redis.call('INCR', keys[1]) end)
"""
LIBRARY_NAME = b"counting"
EVAL, EVAL_UNDONE, EVALSHA, LOAD, FORGET = "eval", "eval undone", "evalsha", "script load", "script flush"
FCALL, ADD, DROP = "fcall", "function load", "function delete"
CALLS = (EVAL, EVAL_UNDONE, EVALSHA, EVALSHA, EVALSHA, LOAD, FORGET, FCALL, FCALL, ADD, DROP)


def calling(name: str) -> Any:
    """The request as the client port would hand it to the host."""
    if name == EVAL:
        return call(COUNT, (CALLED,), ())
    if name == EVAL_UNDONE:
        return call(COUNT, (CALLED,), (b"undone",))
    if name == EVALSHA:
        return kv.ScriptCall(sha_of(COUNT), b"", (CALLED,), ())
    if name == LOAD:
        return call(COUNT, (), (), kv.ScriptMode.LOAD)
    if name == FORGET:
        return kv.FlushScripts()
    if name == FCALL:
        return kv.ScriptCall(b"count", b"", (CALLED,), (), int(kv.ScriptMode.FUNCTION))
    if name == ADD:
        return kv.ScriptCall(b"", b"", (), (b"REPLACE", LIBRARY), int(kv.ScriptMode.LIBRARY))
    return kv.DeleteLibrary(LIBRARY_NAME)


def called(reply: Any) -> Any:
    """A reply as the model gives it: errors by their kind."""
    if type(reply) is not list:
        return reply
    for kind in ("NOSCRIPT", "Function not found", UNDONE):
        if kind.encode() in reply[1]:
            return kind
    raise Violation(f"a script fails: {reply}")


class Called(NamedTuple):
    """The counter after `writes` requests, None if there is none; whether script and library are there."""

    writes: int
    total: int | None
    cached: bool
    library: bool


NEVER_CALLED = Called(0, None, False, False)


def called_counter(state: Called, operation: Operation) -> list[Outcome]:
    """The model: the requests are numbered, so there is one outcome."""
    name = operation.name
    if name == GET:
        return [(state, None if state.total is None else b"%d" % state.total)]
    if operation.number != state.writes + 1:
        return []
    state = state._replace(writes=operation.number)
    counted = (state.total or 0) + 1
    if name == FLUSH:
        return [(state._replace(total=None), "OK")]
    if name == EVALSHA and not state.cached:
        return [(state, "NOSCRIPT")]
    if name == FCALL and not state.library:
        return [(state, "Function not found")]
    if name in (EVAL, EVALSHA):
        return [(state._replace(total=counted, cached=True), counted)]
    if name == EVAL_UNDONE:
        return [(state._replace(cached=True), UNDONE)]
    if name == FCALL:
        return [(state._replace(total=counted), counted)]
    if name == LOAD:
        return [(state._replace(cached=True), sha_of(COUNT))]
    if name == FORGET:
        return [(state._replace(cached=False), "OK")]
    if name == ADD:
        return [(state._replace(library=True), LIBRARY_NAME)]
    return [(state._replace(library=False), int(state.library))]


# -- what a client asks


def drawn(random: Random, name: str, argument: Any) -> tuple[str, Any, str]:
    """A write that was drawn without scripts, perhaps as one with them, and `Operation.script`.

    Only commands that a script may call, and whose reply tells as much there.
    """
    if name == TRANSACTION:
        return (LIST_SCRIPT, draw_lists(random), "") if random.random() < 0.6 else (name, argument, "")
    if name in _NEVER or random.random() >= 0.4:
        return name, argument, ""
    return name, argument, UNDONE if random.random() < 0.2 else COMPLETE


_NEVER = frozenset((FLUSH, "set until", SET_IF_UNCHANGED, TAKE, WAIT, SWAP, *CALLS))
"""Writes that never go through another script: what a script may not do, or tells less of, and scripts."""
