"""The events of all nodes in one list: causes before their effects."""

import re

from kraft.telemetry.recent.facts import Facts
from kraft.telemetry.recent.journal import JournalEntry
from kraft.web.event_list import EVENTS_SHOWN, event_list, in_causal_order
from tests.web.reports import report, view


def told(*events):
    """Facts with these (at, term, text), given the first one first."""
    entries = [JournalEntry(at, "info", "e", text, term=term) for at, term, text in events]
    return Facts(events=tuple(reversed(entries)))


def order(**nodes):
    """The texts, the first one first."""
    shown = view(*(report(node, facts=facts) for node, facts in nodes.items()))
    return [entry.text for entry, _ in reversed(in_causal_order(shown))]


def test_an_election_comes_before_the_leader_that_it_made_whatever_the_clocks_say():
    """K2's clock is a minute ahead, so by the clocks it lost its leader after K3 had become the next."""
    found = order(
        K2=told((160.0, 7, "lost K1"), (161.0, 8, "follows K3")),
        K3=told((100.0, 7, "lost K1 too"), (101.0, 8, "became leader")),
    )
    assert found == ["lost K1 too", "lost K1", "became leader", "follows K3"]


def test_clocks_order_what_happens_in_one_term():
    assert order(K1=told((5.0, 7, "b")), K2=told((4.0, 7, "a"), (6.0, 7, "c"))) == ["a", "b", "c"]


def test_a_node_keeps_its_order_when_its_clock_is_set_back():
    assert order(K1=told((500.0, 7, "a"), (100.0, 7, "b")), K2=told((200.0, 7, "c"))) == ["c", "a", "b"]


def test_a_node_that_starts_knows_no_term_yet():
    """Its start belongs to the term that it learns next, not before everything."""
    found = order(
        K1=told((1.0, 7, "became leader"), (2.0, 7, "lost K3")), K3=told((9.0, 0, "started"), (10.0, 7, "x"))
    )
    assert found == ["became leader", "lost K3", "started", "x"]


def test_several_nodes_that_tell_the_same_share_a_line():
    shown = view(
        report("K1", facts=told((10.0, 1, "started"))), report("K2", facts=told((11.0, 1, "started"))),
        report("K3", facts=told((90.0, 1, "started"))),
    )  # fmt: skip
    assert re.findall(r"<b>(.*?)</b>", event_list(shown)) == ["K3", "K1, K2"]


def test_so_many_events_are_shown():
    many = told(*((float(n), 1, f"did {n}") for n in range(EVENTS_SHOWN + 1)))
    shown = event_list(view(report("K1", facts=many)))
    assert shown.count("<li") == EVENTS_SHOWN
    assert f"did {EVENTS_SHOWN}<" in shown
    assert ">did 0<" not in shown


def test_no_events():
    assert "no events yet" in event_list(view(report("K1")))
