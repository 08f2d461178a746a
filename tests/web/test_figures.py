"""The charts in the document, and what they say in words."""

import re

import pytest

from kraft.telemetry.recent.facts import Facts
from kraft.telemetry.recent.history import RANGES, History
from kraft.telemetry.recent.journal import JournalEntry
from kraft.web.charts import chart_parts, charts_of, series
from tests.web.reports import report, silent, view

NEWEST = 1_700_000_000


def facts(*events, read=((),) * 300, since=NEWEST - 299):
    history = History(NEWEST + 2, {"read": read, "write": ((),) * 300}, 1, since, NEWEST + 3)
    return Facts(history=history, events=events)


def parts(*answers, range_=RANGES[0]):
    seen = view(*answers)
    return chart_parts(seen, series(seen, range_))


def text(html):
    return re.sub(r"<[^>]+>", "", html)


def test_an_idle_cluster_says_so_in_words():
    told = parts(report("K1", facts=facts()))
    assert text(told["throughput-reading"]) == "now reads 0 writes 0"
    assert "Throughput over 5 minutes, in" in told["throughput-words"]
    for id_, words in (("throughput", "commands"), ("reads", "reads"), ("writes", "writes")):
        assert f"idle: no {words} in this range" in told[f"{id_}-words"]
        assert f"idle: no {words} in this range" in told[f"{id_}-plot"]


def test_values_are_told_in_words_with_the_events():
    started = JournalEntry(NEWEST - 60, "info", "node_started", "started", mark="restart")
    told = parts(report("K1", facts=facts(started, read=((),) * 296 + ((40,), (7,), (), ()))))
    assert "reads now 7, at most 40; writes now 0, at most 0." in told["throughput-words"]
    assert told["throughput-words"].endswith(" 22:12:20 UTC: K1 started.")
    assert "p50 now 0.2, at most 0.2; p99 now 0.5, at most 0.5." in told["reads-words"]
    assert '<b data-latest="read">7</b>' in told["throughput-reading"]


@pytest.mark.parametrize("range_", RANGES, ids=lambda range_: range_.name)
def test_every_range_is_a_link_and_the_one_that_is_shown_is_marked(range_):
    told = parts(report("K1", facts=facts()), range_=range_)["ranges"]
    assert re.findall(r'href="([^"]+)"', told) == [f"?range={each.name}#ranges" for each in RANGES]
    [marked] = re.findall(r'<a href="\?range=(\w+)#ranges" aria-current="true">', told)
    assert marked == range_.name


def test_what_is_not_known_is_said():
    late = "The figures of K2 begin at 22:11:40 UTC."
    cases = [
        ((report("K1", facts=facts()),), ""),
        ((report("K1", facts=facts()), report("K2", facts=facts(since=NEWEST - 100))), late),
        ((report("K1", facts=facts()), silent("K3")), "The figures of K3 are not known."),
        ((report("K1", facts=facts(since=NEWEST - 100)), report("K2", facts=facts(since=NEWEST - 98))),
         "No figures before 22:11:40 UTC: nodes keep them in memory."),
        ((report("K1", facts=Facts(wall_seconds=5.0)),), "No node has figures yet."),
    ]  # fmt: skip
    for answers, words in cases:
        assert parts(*answers)["coverage"] == words


def test_every_part_has_a_place():
    told = parts(report("K1", facts=facts()))
    document = charts_of(told)
    assert set(told) <= set(re.findall(r' id="([^"]+)"', document))
    assert all(part in document for part in told.values())
