"""What the clients of `tests.simulation.cross_groups` ask: appends to lists in several groups, and reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kraft.host.requests.round import View
from kraft.kv.commands import Exec, Put, Step, Watched
from tests.serializability import APPEND, INFINITY, READ, Operation
from tests.simulation.homes import Homes

Place = tuple[int, bytes]  # a list: its home and its name


@dataclass(slots=True)
class Question:
    """One request of a client. `steps` are (APPEND or READ, list); `watched` is what the client has seen.

    `groups` are those that have the homes, as far as the node knows that is asked.

    With a `token` it may be asked several times: `fates` are those of the attempts, and `reply` is the one
    that all of them have, as operations: none if a watched key had changed. `returned` is when the first of
    them was answered.
    """

    name: str
    called: float
    steps: tuple[tuple[str, Place], ...]
    groups: dict[int, int]
    watched: tuple[Place, Watched, list[str]] | None = None
    token: bytes = b""
    computed: bool = False
    fates: list[str] = field(default_factory=list)
    reply: Sequence[Operation] | None = None
    returned: float = INFINITY


class Rewrite:
    """A `Computation` that reads all lists of a question, and writes those that get an element."""

    size = 50
    final = True
    rows = ()

    def __init__(self, question: Question, homes: Homes) -> None:
        self.keys: dict[int, list[bytes]] = {}
        self.lists: dict[Place, bytes] = {}  # before the computation
        self._question = question
        self._homes = homes
        self._places: dict[tuple[int, bytes], Place] = {}  # by group and key
        self._watched: dict[int, tuple[Watched, ...]] = {}
        for _, place in question.steps:
            group, key = question.groups[place[0]], homes.key(*place)
            self.keys.setdefault(group, []).append(key)
            self._places[group, key] = place

    def found(self, group: int, view: View) -> None:
        space, keys = view.keyspace, self.keys[group]
        self.lists.update({self._places[group, key]: space.get(key) or b"" for key in keys})
        self._watched[group] = tuple([Watched(key, space.revision(key), view.revision) for key in keys])

    def parts(self) -> dict[int, Exec]:
        steps: dict[int, list[Step]] = {group: [] for group in self.keys}
        for number, (kind, place) in enumerate(self._question.steps):
            if kind == APPEND:
                element = b"|" + element_of(self._question, number).encode()
                group, key = self._question.groups[place[0]], self._homes.key(*place)
                steps[group].append(Put(key, self.lists[place] + element))
        return {group: Exec((), tuple(each), self._watched[group]) for group, each in steps.items()}


def values_of(
    steps: Sequence[tuple[str, Place]], groups: Mapping[int, int], replies: Mapping[int, Any]
) -> list[Any]:
    """What the steps of a question replied: the value of a list, or its length."""
    left = {group: (records, iter(each)) for group, (_, records, each) in replies.items()}
    values = []
    for kind, place in steps:
        records, each = left[groups[place[0]]]
        reply = next(each)
        if kind == READ:
            reply = None if reply[1] is None else records[reply[1]][0]
        values.append(reply)
    return values


def name_of(place: Place) -> str:
    return f"{place[0]}{place[1].decode()}"


def element_of(question: Question, number: int) -> str:
    return f"{question.name}-{number}"
