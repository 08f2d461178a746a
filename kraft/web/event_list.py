"""The newest events of all nodes, in an order in which causes precede their effects.

The events of one node are in the order in which they happened. Between nodes a clock may be wrong, and so the
term decides first: nothing that a node did in a term comes before what others did in an earlier one. Clocks
order what happened in the same term. The same event on several nodes at about the same time is one line.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, starmap

from kraft.telemetry.recent.journal import JournalEntry
from kraft.web import words
from kraft.web.html import Html, element
from kraft.web.view import ClusterView

EVENTS_SHOWN = 40
SAME_SECONDS, SAME_LINES = 3.0, 20  # how far apart the entries of several nodes about one event may be
_LEVELS = {"warning": ("warn", "!"), "error": ("bad", "✕"), "critical": ("bad", "✕")}


def event_list(view: ClusterView) -> Html:
    """The newest events, the last one first."""
    lines: list[tuple[JournalEntry, list[str]]] = []
    for entry, node in in_causal_order(view):
        for earlier, nodes in lines[-SAME_LINES:]:
            same = (earlier.text, earlier.times) == (entry.text, entry.times)
            if same and node not in nodes and abs(earlier.at - entry.at) < SAME_SECONDS:
                nodes.append(node)
                break
        else:
            lines.append((entry, [node]))
    if not lines:
        return element("p", "no events yet", class_="nothing")
    return element("ol", *starmap(_event, lines[:EVENTS_SHOWN]))


def in_causal_order(view: ClusterView) -> list[tuple[JournalEntry, str]]:
    """(event, node) of all nodes, the last one first."""
    events = {answer.id: answer.last.facts.events[::-1] for answer in view.answers if answer.last is not None}
    known = sorted((entry.at, entry.term) for entries in events.values() for entry in entries if entry.term)
    times, terms = [at for at, _ in known], list(accumulate((term for _, term in known), max, initial=0))
    keyed = [
        (key, entry, node)
        for node, entries in events.items()
        for key, entry in zip(_keys(entries, times, terms), entries, strict=True)
    ]
    keyed.sort(key=lambda each: each[0])
    return [(entry, node) for _, entry, node in reversed(keyed)]


def _keys(
    entries: Sequence[JournalEntry], times: Sequence[float], terms: Sequence[int]
) -> Iterator[tuple[int, float]]:
    """Keys (term, time) of the events of one node, the first one first, that never fall.

    A node that starts knows no term yet. Its first events get the one that the others had reached by the
    clock, as of `times` and `terms`, but none that comes after the one it learns next. A clock that was set
    back counts as having stood still.
    """
    learned = next((entry.term for entry in entries if entry.term), terms[-1])
    own = (entry.term or min(learned, terms[bisect_right(times, entry.at)]) for entry in entries)
    return zip(accumulate(own, max), accumulate((entry.at for entry in entries), max), strict=True)


def _event(entry: JournalEntry, nodes: Sequence[str]) -> Html:
    kind, sign = _LEVELS.get(entry.level, (None, "·"))
    often = f" ({entry.times} times)" if entry.times > 1 else ""
    said = element("span", element("b", ", ".join(sorted(nodes))), " ", entry.text, often)
    mark = element("span", sign, class_="sign", aria_hidden="true")
    return element("li", words.moment(entry.at), mark, said, class_=kind)
