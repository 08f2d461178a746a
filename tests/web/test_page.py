"""The document: complete without a script, and with nothing in it that a name put there."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from kraft.node.status import STATES, TransferStatus
from kraft.telemetry.recent.facts import Facts
from kraft.telemetry.recent.history import History
from kraft.telemetry.recent.journal import JournalEntry
from kraft.web import assets, overview, words
from kraft.web.charts import chart_parts, series
from kraft.web.findings import diagnose
from kraft.web.page import POLICY, render_page
from kraft.web.report import Report
from kraft.web.sections import sections
from tests.web.reports import group, member, placed, replica, report, silent, view, without
from tests.web.test_site import Browser, FakeNode

HOSTILE = "\"'><script src=//x></script>&amp;"
VOID = {"meta", "link", "img"}
NO_TIME = f"<span>{words.NOTHING}</span>"


class Outline(HTMLParser):
    """Elements and attributes of a document; fails where they are not nested well."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(document)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def hostile_view():
    """Every text that another node or a client could choose is hostile."""
    told = replace(
        report("K1").status,
        node=HOSTILE, version=HOSTILE, cluster=HOSTILE, state=HOSTILE, problem=HOSTILE, client=HOSTILE,
        http=HOSTILE, members=(member(HOSTILE, http=HOSTILE, peer=HOSTILE),),
        groups=(
            group(HOSTILE, HOSTILE, role=HOSTILE, voters=(HOSTILE,), learners=(HOSTILE,),
                  transferring=HOSTILE, transfers=(TransferStatus(HOSTILE, "receive", 1, 1, 1, 1.0),)),
        ),
    )  # fmt: skip
    facts = Facts(
        connections={HOSTILE: 1},
        storage_bytes={HOSTILE: 1},
        events=(
            JournalEntry(1e300, HOSTILE, HOSTILE, HOSTILE),
            JournalEntry(990, HOSTILE, HOSTILE, HOSTILE, mark="election"),
            JournalEntry(980, HOSTILE, HOSTILE, HOSTILE, mark=HOSTILE),
        ),
        history=History(1000, {HOSTILE: ((1,),)}),
    )
    own = replace(report("K1"), status=told, facts=facts)
    return view(own, silent(HOSTILE, HOSTILE, last=own))


def test_names_are_text_wherever_they_stand():
    outline = Outline(render_page(hostile_view()))
    scripts = [attributes for tag, attributes in outline.found if tag == "script"]
    assert scripts == [{"src": script.name, "defer": ""} for script in assets.SCRIPTS]
    assert any(HOSTILE in text for text in outline.texts)
    links = {attributes["href"] or "" for tag, attributes in outline.found if tag == "a"}
    assert all(not link.startswith(("javascript:", "//", "data:")) for link in links)


def test_the_policy_is_kept():
    """Nothing inline, and all that is loaded is this node's own, under relative names."""
    outline = Outline(render_page(view(report("K1"), report("K2"), silent("K3"))))
    assert "unsafe" not in POLICY
    for tag, attributes in outline.found:
        assert "style" not in attributes, tag
        assert not any(name.startswith("on") for name in attributes), tag
    loaded = {a.get("src") or a["href"] for tag, a in outline.found if tag in ("script", "link", "img")}
    own = (assets.STYLE, assets.CHARTS_STYLE, *assets.SCRIPTS, assets.MARK, assets.ICONS["warn"])
    assert loaded == {asset.name for asset in own}


def test_every_part_stands_in_the_document():
    """What events replace is what the document has, and each id once."""
    shown = view(report("K1"), report("K2"), silent("K3"))
    document = render_page(shown)
    ids = re.findall(r' id="([^"]+)"', document)
    parts = {**sections(shown, diagnose(shown)), **chart_parts(shown, series(shown))}
    assert set(parts) | {"live"} <= set(ids)
    assert len(ids) == len(set(ids))
    assert all(part in document for part in parts.values())


def with_groups(count: int) -> list[Report]:
    """Three nodes with so many groups, which lead them in turn."""
    nodes = ("K1", "K2", "K3")
    return [
        replace(
            report(node),
            status=replace(
                report(node).status,
                groups=tuple(group(node, leader=nodes[id_ % 3], group=id_) for id_ in range(count)),
            ),
        )
        for node in nodes
    ]


def rows(part: str) -> list[list[str]]:
    """The texts of a table's cells, without the headings."""
    body = part.partition("<tbody>")[2].partition("</tbody>")[0]
    cells = (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("<tr>")[1:])
    return [[re.sub("<[^>]*>", "", cell) for cell in row] for row in cells]


def test_several_groups_are_sums_a_table_and_a_row_for_each_node():
    shown = view(*with_groups(3))
    parts = sections(shown, diagnose(shown))
    assert "K1:\N{NO-BREAK SPACE}1, K2:\N{NO-BREAK SPACE}1, K3:\N{NO-BREAK SPACE}1" in parts["groups"]
    assert "1 more" in parts["groups"]
    assert [row[:4] for row in rows(parts["group-table"])] == [
        [str(number), f"K{number + 1}", "16\u202f384", "1 more"] for number in range(3)
    ]
    assert [row[:4] for row in rows(parts["nodes"])] == [
        [node, "all 3", "serving", "leads 1"] for node in ("K1", "K2", "K3")
    ]
    assert parts["topology"].count(">leads 1<") == 3


def test_groups_on_some_of_the_nodes_show_who_has_them():
    catching = {"learners": ("K6",), "joining": ("K6",)}
    shown = placed("K3", g2=catching)
    parts = sections(shown, diagnose(shown))
    assert [(row[0], row[1], row[2], row[4]) for row in rows(parts["group-table"])] == [
        ("0", "K1", "K1, K2, K3 (down), K4, K5, 1 learner", "1 more"),
        ("1", "K1", "K1, K2, K3 (down)", "no more"),
        ("2", "K2", "K2, K3 (down), K4, K6 (catching up)", "no more"),
        ("3", "K4", "K4, K5, K6", "1 more"),
    ]
    held = {row[0]: row[1] for row in rows(parts["nodes"])}
    assert (held["K1"], held["K2"], held["K6"]) == ("2 of 4", "3 of 4", "2 of 4")
    assert "K1:\N{NO-BREAK SPACE}2, K2:\N{NO-BREAK SPACE}3" in parts["groups"]


def test_a_group_that_no_node_tells_of_counts():
    parts = sections(shown := placed("K4", "K5", "K6"), diagnose(shown))
    facts = Outline(parts["groups"]).texts
    assert [facts[facts.index(name) + 1] for name in ("groups", "leaderless", "tolerance")] == [
        "4", "1", "too few left",
    ]  # fmt: skip
    assert "K6:\N{NO-BREAK SPACE}2" in parts["groups"]
    first = rows(parts["group-table"])[0]
    assert first[:5] == ["3", "none", "K4 (down), K5 (down), K6 (down)", words.NOTHING, "too few left"]


def test_of_many_groups_those_that_lack_a_voter_have_a_row(monkeypatch):
    """The worst first, and no more than there is room for."""
    monkeypatch.setattr(overview, "GROUPS_SHOWN_MAX", 2)
    parts = sections(shown := placed("K3"), diagnose(shown))
    assert [row[0] for row in rows(parts["group-table"])] == ["1", "2"]


def test_a_node_that_looks_for_leaders_is_no_follower():
    nodes = with_groups(2)
    lost = [replace(each, leader="", role="precandidate", replicas=()) for each in nodes[0].status.groups]
    shown = view(
        replace(nodes[0], status=replace(nodes[0].status, groups=tuple(lost))), *map(silent, ("K2", "K3"))
    )
    assert rows(sections(shown, diagnose(shown))["nodes"])[0][3] == "looks for a leader"


def test_a_lag_that_no_leader_knows_is_a_dash():
    """K3 has not answered K1 since K1 leads."""
    unheard = {"replicas": (replica("K2"), replica("K3", state="probe", match_index=0, lag_entries=120))}
    shown = view(report("K1", group=unheard), report("K2"), report("K3"))
    lags = [row[5] for row in rows(sections(shown, diagnose(shown))["nodes"])]
    assert lags == [words.NOTHING, "0", words.NOTHING]


def test_of_many_groups_only_those_with_a_problem_have_a_row():
    nodes = with_groups(20)
    shown = view(*nodes)
    parts = sections(shown, diagnose(shown))
    assert "K1:\N{NO-BREAK SPACE}7" in parts["groups"]
    assert rows(parts["group-table"]) == []
    assert "KRAFT GROUPS" in parts["group-table"]
    assert len(rows(parts["nodes"])) == 3

    fenced = [each if each.group != 7 else replace(each, fenced=True) for each in nodes[1].status.groups]
    nodes[1] = replace(nodes[1], status=replace(nodes[1].status, groups=tuple(fenced)))
    shown = view(*nodes)
    parts = sections(shown, diagnose(shown))
    assert [row[:2] for row in rows(parts["group-table"])] == [["7", "K2"]]
    assert [row[1] for row in rows(parts["nodes"])] == ["all 20", "7"] * 3
    assert "K2 is not well: wrong data" in parts["topology"]


def test_a_node_that_was_removed_tells_nothing_that_it_cannot_know():
    """Who leads, how many more may be lost: it has links to none. It does not look for a leader either."""
    removed = report("K1", "", state="removed", problem="K1 was removed", group={"role": "precandidate"})

    def shown(*others):
        seen = view(removed, *others)
        return set(Outline("".join(map(str, sections(seen, diagnose(seen)).values()))).texts)

    assert {"removed", "voters", "K1, K2, K3"} <= shown()
    assert not {"looks for a leader", "leader", "tolerance", "too few left"} & shown()
    others = (without("K1", report(id_, "K2")) for id_ in ("K2", "K3"))
    assert {"tolerance", "no more"} <= shown(*others)


def test_a_node_that_was_removed_has_no_role_in_its_groups_either():
    lost = [group("K1", "", group=id_, role="precandidate") for id_ in range(20)]
    seen = view(report("K1", "", state="removed", problem="K1 was removed", groups=tuple(lost)))
    [row] = rows(sections(seen, diagnose(seen))["nodes"])[:1]
    assert row[1:4] == ["all 20", "removed", words.NOTHING]


def test_one_group_has_no_number():
    assert not re.search(r"[Gg]roup \d|>groups?</th>", render_page(view(report("K1"))))


def test_certificates_have_a_column_once_there_is_tls():
    ends = {"certificate": 100.0 + 90 * 86400, "ca": 100.0 + 30 * 86400}
    facts = Facts(wall_seconds=100.0, tls_expiry=ends)
    shown = view(report("K1", facts=facts), report("K2", facts=replace(facts, wall_seconds=ends["ca"])))
    parts = sections(shown, diagnose(shown))
    assert [row[-2] for row in rows(parts["nodes"])] == ["30 d 0 h", "expired"]
    assert "certificate" not in sections(view(report("K1")), diagnose(view(report("K1"))))["nodes"]


def test_a_fault_is_told_once():
    """The finding has the error; the table has what was last known of the node."""
    last = report("K3", facts=Facts(wall_seconds=3600.0))
    shown = view(without("K3", report("K1")), without("K3", report("K2")), silent("K3", last=last))
    document = render_page(shown)
    assert document.count("Connection refused") == 1
    assert "last report at <time" in sections(shown, diagnose(shown))["nodes"]
    assert "applied 119" in sections(shown, diagnose(shown))["nodes"]


def test_no_name_of_the_code_is_on_the_page():
    """Whatever is wrong: names such as event_loop are for programs."""
    troubles: list[dict[str, Any]] = [{name: True} for name in ("disk_full", "disk_slow", "loop_slow")]
    troubles += [{"state": state} for state in STATES]
    for trouble in troubles:
        texts = Outline(render_page(view(report("K1", **trouble), report("K2")))).texts
        assert not re.search(r"[a-z]_[a-z]", " ".join(texts)), trouble


def test_a_command_can_be_copied_and_its_advice_is_beside_it():
    own = report("K1", facts=Facts(disk_free_bytes=1, history=History(1000, {})))
    shown = view(own, report("K2"), report("K3"))
    verdict = sections(shown, diagnose(shown))["verdict"]
    assert '<code>df -h</code> <button type="button" class="copy"' in verdict
    assert '<span class="advice">on its machine</span>' in verdict


@pytest.mark.parametrize("state", ["good", "warn", "bad"])
def test_the_tab_shows_the_state(state):
    """Each state has a picture of its own, and `silent` is there for the script."""
    shown = {
        "good": view(report("K1"), report("K2"), report("K3")),
        "warn": view(without("K3", report("K1")), without("K3", report("K2")), silent("K3")),
        "bad": view(without("K2", without("K3", report("K1", leader=""))), silent("K2"), silent("K3")),
    }[state]
    document = render_page(shown)
    assert f'href="{assets.ICONS[state].name}" data-silent="{assets.ICONS["silent"].name}"' in document
    assert len({icon.body for icon in assets.ICONS.values()}) == len(assets.ICONS)


def test_an_empty_cluster_says_what_to_try():
    """As long as it serves and has no keys; the second command asks another node."""

    def tried(*answers):
        return sections(view(*answers), diagnose(view(*answers)))["suggestions"]

    empty = [report(node, group={"keys": 0}) for node in ("K1", "K2", "K3")]
    assert "<code>redis-cli -h K1 -p 11 set greeting hello</code>" in tried(*empty)
    assert "<code>redis-cli -h K2 -p 11 get greeting</code>" in tried(*empty)
    assert tried(report("K1"), report("K2"), report("K3")) == ""
    alone = report("K1", leader="", group={"keys": 0})
    assert tried(without("K2", without("K3", alone)), silent("K2"), silent("K3")) == ""


@pytest.mark.parametrize("asset", assets.ALL, ids=lambda asset: asset.name)
def test_assets_may_be_kept_for_ever(asset):
    code, headers, body = Browser().get(f"/{asset.name}")
    assert (code, headers["content-type"], body) == (200, asset.type, asset.body)
    assert "immutable" in headers["cache-control"]


def test_what_is_live_is_not_kept():
    for path in ("/", "/status", "/metrics", "/livez"):
        headers = Browser().get(path)[1]
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
        assert headers["content-security-policy"] == POLICY.lower()


def test_the_page_waits_for_the_other_nodes_but_not_for_ever():
    browser = Browser(FakeNode(report("K1").status))
    browser.protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: k\r\n\r\n")
    assert len(browser.fetch.asked) == 2
    assert browser.transport.value() == b""

    browser.clock.advance(2.0)

    assert b"K1 is healthy; waiting for the other nodes" in browser.received()[2]


def test_a_page_that_fails_later_is_a_failure_too():
    browser = Browser(FakeNode(report("K1").status))
    browser.protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: k\r\n\r\n")
    browser.node.fails = True

    browser.clock.advance(2.0)

    assert browser.received()[::2] == (500, b"this page failed: RuntimeError\n")


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (words.size(0), "0 B"), (words.size(999), "999 B"), (words.size(1000), "1.0 KiB"),
        (words.size(200 << 20), "200 MiB"), (words.size(5 << 50), "5120 TiB"),
        (words.size(None), words.NOTHING),
        (words.count(12_345_678), "12 345 678"), (words.rate(0.0), "0"), (words.rate(9.9), "9.9"),
        (words.rate(1234.4), "1 234"), (words.milliseconds(None), words.NOTHING),
        (words.milliseconds(0.25), "0.2"), (words.milliseconds(8192.0), "8 192"),
        (words.duration(59.9), "59 s"), (words.duration(61), "1 min 1 s"),
        (words.duration(3 * 3600 + 60), "3 h 1 min"), (words.duration(90_000), "1 d 1 h"),
        (words.moment(0), '<time datetime="1970-01-01T00:00:00Z">00:00:00</time>'),
        (words.moment(float("nan")), NO_TIME), (words.moment(1e300), NO_TIME),
    ],
)  # fmt: skip
def test_numbers_for_people(shown, text):
    assert shown.replace("\N{NARROW NO-BREAK SPACE}", " ") == text


def storage_part(*reports):
    seen = view(*reports)
    return sections(seen, diagnose(seen))["storage"]


def test_the_age_of_backups_is_shown_where_there_are_any():
    now = 1_700_000_000.0
    kept = Facts(wall_seconds=now, backup_made=now - 7300, backup_reaches=now - 2)
    shown = str(storage_part(report("K1", facts=kept), report("K2")))
    assert "backup: image of 2 h 1 min ago, log up to 2 s ago" in shown
    assert shown.count("backup:") == 1


def test_backups_that_fail_are_a_finding():
    failing = Facts(backup_problem="/backup: no space is left")
    found = diagnose(view(report("K1", facts=failing))).findings
    assert [each.text for each in found if "backups" in each.text] == [
        "its backups fail: /backup: no space is left"
    ]


def test_logs_that_are_not_shipped_are_a_finding():
    reason = "K3 leads and does not know this command: update it first"
    for count, told in ((1, "the log of a group"), (2, "the logs of 2 groups")):
        found = diagnose(
            view(report("K1", facts=Facts(backup_unshipped=count, backup_unshipped_reason=reason)))
        )
        [finding] = [each for each in found.findings if each.subject == "K1" and "ship" in each.text]
        assert finding.text == f"does not ship {told}: {reason}"
