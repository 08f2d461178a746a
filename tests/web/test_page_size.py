"""How much a browser has to load: at 3 a.m. the page may have to come over a slow connection to a phone."""

import random

import pytest

from kraft.telemetry.recent.facts import Facts
from kraft.telemetry.recent.history import RANGES, History, TimeRange
from kraft.telemetry.recent.journal import ELECTION, RESTART, JournalEntry
from kraft.web import assets
from kraft.web.event_stream import page_states
from kraft.web.page import render_page
from tests.web.reports import NODES, member, report, silent, view

NOON = 1_700_049_600
ASSETS_BYTES_MAX = 28_000  # style, scripts, the mark and one icon, all of them uncompressed
DOCUMENT_BYTES_MAX = 36_000  # three nodes under load
WORST_BYTES_MAX = 65_000  # the same while leaders change all the time
LARGE_BYTES_MAX = 90_000  # and of nine nodes, of which three are silent
UPDATE_BYTES_MAX = 16_000  # each second under load
IDLE_UPDATE_BYTES_MAX = 9_000  # each second in which nothing happened
WORST_UPDATE_BYTES_MAX = 37_000

IDLE = ((),) * RANGES[0].count


def busy(range_: TimeRange, seed: int) -> tuple[tuple[int, ...], ...]:
    """Columns that go up and down all the time: the longest lines to draw."""
    dice = random.Random(seed)
    return tuple(tuple(dice.randrange(200 * range_.step) for _ in range(10)) for _ in range(range_.count))


def history(range_: TimeRange, newest: int, columns: dict[str, tuple[tuple[int, ...], ...]]) -> History:
    newest -= newest % range_.step
    since = newest - (range_.count - 1) * range_.step
    return History(newest, columns, range_.step, since=since, until=newest + range_.step)


def facts(newest: int, range_: TimeRange = RANGES[0], *, idle: bool = False, events: int = 200) -> Facts:
    """What a node remembers that has much to tell; of few events, one every 40 seconds."""
    columns = {"read": busy(range_, 1), "write": busy(range_, 2), "sync": busy(range_, 3)}
    long = () if range_ is RANGES[0] else (history(range_, newest, columns),)
    short = {name: IDLE if idle or long else shown for name, shown in columns.items()}
    apart = 40 if events < 10 else 3
    told = tuple(
        JournalEntry(NOON - apart * each, "warning", "election_won", f"became leader in term {each}",
                     term=each, mark=(ELECTION, RESTART)[each % 2])
        for each in range(events)
    )  # fmt: skip
    return Facts(
        wall_seconds=newest + 2.0, history=history(RANGES[0], newest + 2, short), longer=long, events=told,
        connections={"resp": 1234}, storage_bytes={"log": 1 << 30, "wal": 4 << 20, "state": 1 << 30},
        disk_free_bytes=1 << 40,
    )  # fmt: skip


def cluster(told: Facts):
    return view(*(report(id_, facts=told) for id_ in NODES))


def test_style_and_scripts_are_small():
    """They are loaded once: their names change with their content, and browsers keep them for ever."""
    loaded = (assets.STYLE, assets.CHARTS_STYLE, *assets.SCRIPTS, assets.MARK, assets.ICONS["bad"])
    assert 0 < sum(len(asset.body) for asset in loaded) < ASSETS_BYTES_MAX


@pytest.mark.parametrize("range_", RANGES, ids=lambda range_: range_.name)
@pytest.mark.parametrize(("events", "most"), [(3, DOCUMENT_BYTES_MAX), (200, WORST_BYTES_MAX)])
def test_the_page_of_a_busy_cluster_is_small(range_, events, most):
    document = render_page(cluster(facts(NOON, range_, events=events)), range_)
    assert document.count("<path") > 10  # the lines are there
    assert most / 2 < len(document.encode()) < most


def test_the_page_of_nine_nodes_is_small():
    ids = [f"node-{number}.example.com" for number in range(1, 10)]
    told = facts(NOON)
    members = tuple(member(id_, connected=id_ not in ids[6:]) for id_ in ids)
    answers = [report(id_, ids[0], told, members=members, group={"voters": tuple(ids)}) for id_ in ids]
    gone = (silent(id_, last=answers[6]) for id_ in ids[6:])
    assert len(render_page(view(*answers[:6], *gone)).encode()) < LARGE_BYTES_MAX


@pytest.mark.parametrize(
    ("idle", "events", "most"),
    [(True, 3, IDLE_UPDATE_BYTES_MAX), (False, 3, UPDATE_BYTES_MAX), (False, 200, WORST_UPDATE_BYTES_MAX)],
)
def test_an_open_page_costs_little(idle, events, most):
    """What is sent each second: the charts, which have moved, and what has changed."""
    first, then = (
        page_states(cluster(facts(newest, idle=idle, events=events)), RANGES[:1])[RANGES[0]]
        for newest in (NOON, NOON + 1)
    )
    assert most / 2 < len(then.since(first)) < most


def test_what_has_not_changed_is_not_sent():
    first, same = (page_states(cluster(facts(NOON)), RANGES[:1])[RANGES[0]] for _ in range(2))
    assert len(same.since(first)) < 400
