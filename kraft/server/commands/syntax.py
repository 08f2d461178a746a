"""The syntax of a command, `key value [NX|XX] [EX seconds]`, as the arguments that COMMAND DOCS shows.

    alternatives   sequence | sequence ...
    sequence       items, one after another
    item           word, [alternatives] for a part that may be left out, <alternatives> for one that may not
    [name ...]     any number; after the same part without brackets, at least one

A word in capitals is sent as it stands, any other stands for a value. The replies have the form of
https://redis.io/docs/latest/commands/command-docs/ (arguments).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kraft.resp.values import Reply, SetOf

_WORD = re.compile(r"\.\.\.|[\[\]<>|]|[^\s\[\]<>|]+")
_CLOSING = {"[": "]", "<": ">"}
_INTEGERS = frozenset(
    ("bit", "bits", "client-id", "count", "cursor", "decrement", "destination-db", "end", "entries",
     "frequency", "increment", "index", "len", "maxage", "milliseconds", "numkeys", "numreplicas", "offset",
     "protover", "raft-port", "revision", "seconds", "slot", "start", "timeout", "token", "ttl"),
)  # fmt: skip
_KEYS = frozenset(("destination", "destkey", "key", "key1", "key2", "newkey", "source"))


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. `type` is Redis' word for it; a block or a oneof has `parts`."""

    name: str
    type: str
    token: str = ""  # the word that is sent before it, or for it
    flags: tuple[str, ...] = ()
    parts: tuple["Argument", ...] = ()
    key_kind: int = 0  # the number of its key specification

    def reply(self) -> Reply:
        """The map that COMMAND DOCS has for it."""
        fields: dict[Reply, Reply] = {b"name": self.name.encode(), b"type": self.type.encode()}
        if self.type == "key":
            fields[b"key_spec_index"] = self.key_kind
        if self.token:
            fields[b"token"] = self.token.encode()
        if self.flags:
            fields[b"flags"] = SetOf(self.flags)
        if self.parts:
            fields[b"arguments"] = [part.reply() for part in self.parts]
        return fields


class Syntax:
    """One syntax while it is read. `kinds` is the number of key specifications: 0 if no word is a key."""

    def __init__(self, text: str, *, kinds: int) -> None:
        self._words: list[str] = _WORD.findall(text)
        self._kinds = kinds
        self._keys = 0  # found so far

    def arguments(self) -> list[Argument]:
        """The arguments, in order. Raises ValueError if the text is not a syntax."""
        found = self._alternatives()
        if self._words:
            raise ValueError(f"{self._words[0]!r} closes nothing")
        return found

    def _alternatives(self) -> list[Argument]:
        choices = [self._sequence()]
        while self._take("|"):
            choices.append(self._sequence())
        if len(choices) == 1:
            return choices[0]
        return [_group("oneof", [_one(choice) for choice in choices])]

    def _sequence(self) -> list[Argument]:
        found: list[Argument] = []
        while self._words and self._words[0] not in ("|", "]", ">", "..."):
            word = self._words.pop(0)
            if word in _CLOSING:
                self._add_part(found, _CLOSING[word])
            else:
                found.append(self._argument(word))
        leads = len(found) > 1 and found[0].type == "pure-token" and not found[0].flags
        if leads and "optional" not in found[1].flags:
            return [replace(_one(found[1:]), token=found[0].token)]
        return found

    def _add_part(self, found: list[Argument], closing: str) -> None:
        part = self._alternatives()
        flags = ["optional"] if closing == "]" else []
        if self._take("..."):
            flags.append("multiple")
            if found[-len(part) :] == part:  # it repeats what is before it
                del found[-len(part) :]
                flags.remove("optional")
        if not self._take(closing):
            raise ValueError(f"{closing!r} is missing")
        whole = _one(part)
        found.append(replace(whole, flags=(*flags, *whole.flags)))

    def _take(self, word: str) -> bool:
        if self._words[:1] != [word]:
            return False
        del self._words[0]
        return True

    def _argument(self, word: str) -> Argument:
        if word == word.upper():
            return Argument(word.lower(), "pure-token", word)
        if word in _KEYS and self._kinds:
            self._keys += 1
            return Argument(word, "key", key_kind=min(self._keys, self._kinds) - 1)
        if word.startswith("unix-time"):
            return Argument(word, "unix-time")
        if word == "pattern":
            return Argument(word, "pattern")
        return Argument(word, "integer" if word in _INTEGERS else "string")


def _one(sequence: Sequence[Argument]) -> Argument:
    """A sequence as one argument."""
    return sequence[0] if len(sequence) == 1 else _group("block", sequence)


def _group(kind: str, parts: Sequence[Argument]) -> Argument:
    return Argument("_".join(part.name for part in parts), kind, parts=tuple(parts))
