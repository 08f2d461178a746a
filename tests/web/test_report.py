"""The JSON of /status, written and read."""

import json

import pytest

from kraft.telemetry.recent.facts import Facts
from kraft.telemetry.recent.history import History, Traffic
from kraft.telemetry.recent.journal import JournalEntry
from kraft.web.report import NotAReport, Report, decode, encode
from tests.web.reports import report

FULL = report(
    "K1",
    facts=Facts(
        wall_seconds=1.5,
        connections={"resp2": 3},
        storage_bytes={"log": 9},
        disk_free_bytes=7,
        traffic={"read": Traffic(1.0, 0.5, None)},
        events=(JournalEntry(1.0, "info", "node_started", "started"),),
        history=History(1000, {"read": ((), (1, 2))}),
        longer=(History(900, {"read": ((5,),)}, 300, 950, 1001),),
    ),
)


@pytest.mark.parametrize("pretty", [True, False])
def test_what_is_written_can_be_read(pretty):
    assert decode(encode(FULL, pretty=pretty)) == FULL


def test_status_and_facts_are_one_object():
    """The fields of the status stand where they always stood."""
    values = json.loads(encode(Report(FULL.status, Facts()), pretty=True))
    assert (values["node"], values["groups"][0]["leader"], values["connections"]) == ("K1", "K1", {})
    assert not {"history", "longer"} & set(values)


def test_other_versions_may_know_more_and_less():
    values = json.loads(encode(FULL, pretty=False))
    del values["traffic"], values["groups"][0]["joint"]
    values["weather"] = "fine"
    read = decode(json.dumps(values).encode())
    assert (read.status, read.facts.traffic) == (FULL.status, {})


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b"null", b"\xff", b"<html>", b'{"node": 5}', b"[" * 100_000,
        encode(FULL, pretty=False).replace(b'"node":"K1"', b'"node":{"a":1}'),
        encode(FULL, pretty=False).replace(b'"term":7', b'"term":"<script>"'),
        encode(FULL, pretty=False).replace(b"[1,2]", b'["x"]'),
        encode(FULL, pretty=False).replace(b"[1,2]", b"[-1]"),
        encode(FULL, pretty=False).replace(b"[1,2]", b"[" + b"9" * 30 + b"]"),
        encode(FULL, pretty=False).replace(b'"newest":1000', b'"newest":-1'),
    ],
)  # fmt: skip
def test_anything_else_is_refused(body):
    with pytest.raises(NotAReport):
        decode(body)
