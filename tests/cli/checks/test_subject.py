"""Whom `kraft doctor` looks at."""

import json
import os
from dataclasses import replace

import pytest

from kraft.cli import status_reply
from kraft.cli.checks import cluster, network, subject
from kraft.cli.checks.result import OK, WARNING
from kraft.cli.checks.subject import look_at
from kraft.config import parse
from kraft.storage.lock import DirectoryLock, holder
from kraft.web.report import encode
from tests.cli.checks.subjects import HTTP, SECTIONS, levels, only
from tests.web.reports import report


def asked(monkeypatch, answers):
    """Nodes answer by address; those that are not there do not."""

    def ask(name, address, _timeout, _security=None):
        told = answers.get(address)
        if told is None:
            return status_reply.StatusReply(name, address, error="Connection refused")
        return status_reply.StatusReply(told.status.node, address, json.loads(encode(told, pretty=False)))

    monkeypatch.setattr(status_reply, "ask", ask)


def test_a_node_that_answers_shows_the_cluster(stopped, monkeypatch):
    config = parse(SECTIONS.format(data="d").replace('http: {listen: ""}\n', HTTP), "K1.yaml")
    asked(monkeypatch, {"127.0.0.1:21": report("K1"), "K2:21": report("K2")})
    found = look_at("K1.yaml", config).view
    assert found is not None
    assert [(each.id, each.error) for each in found.answers] == [
        ("K1", ""), ("K2", ""), ("K3", "Connection refused"),
    ]  # fmt: skip
    assert found.own.status.node == "K1"


def test_a_node_that_is_another_is_not_taken_for_this_one(monkeypatch):
    config = parse(SECTIONS.format(data="d").replace('http: {listen: ""}\n', HTTP), "K1.yaml")
    asked(monkeypatch, {"127.0.0.1:21": report("K2")})
    found = look_at("K1.yaml", config)
    assert (found.running, found.view) == (False, None)
    assert found.silence == "node 'K2' answers at 127.0.0.1:21 instead"


def test_who_holds_the_lock_runs(data, stopped):
    config = stopped().config
    assert holder(str(data)) is None
    lock = DirectoryLock(str(data))
    assert look_at("K1.yaml", config).pid == os.getpid()
    lock.release()
    assert look_at("K1.yaml", config).pid is None
    assert holder(str(data / "none")) is None


def test_a_node_that_is_hidden_may_run(data, stopped, monkeypatch):
    """Who may not see the lock says so, and takes no port for a stranger's."""

    def closed(_path):
        raise PermissionError(13, "Permission denied")

    config = stopped().config
    monkeypatch.setattr(subject, "holder", closed)
    found = look_at("K1.yaml", config)
    assert (found.running, found.hidden) == (False, True)
    assert only(cluster.node(found)).level == WARNING
    assert levels(network.ports(found)) == [OK]

    answering = parse(SECTIONS.format(data=data).replace('http: {listen: ""}\n', HTTP), "K1.yaml")
    asked(monkeypatch, {"127.0.0.1:21": report("K1")})
    found = look_at("K1.yaml", answering)
    assert (found.pid, found.hidden) == (0, False)


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ("a" * 32, "it does not know the first token in {}, which may have changed since its last reload"),
        (None, "it asks for the token in {}, which this user cannot read"),
    ],
)
def test_a_node_that_does_not_take_the_token_may_have_to_be_reloaded(data, monkeypatch, tmp_path, held, told):
    """The command has no option for a token: it reads the file of the node."""
    file = tmp_path / "token"
    if held:
        file.write_text(held)
    http = HTTP.replace("}", f", token_file: {file}}}")
    config = parse(SECTIONS.format(data=data).replace('http: {listen: ""}\n', http), "K1.yaml")
    refusal = status_reply.StatusReply("K1", "127.0.0.1:21", error=status_reply.REFUSED[401])
    monkeypatch.setattr(status_reply, "ask", lambda *_: refusal)

    found = look_at("K1.yaml", config)
    assert (found.silence, found.mend) == (told.format(file), "systemctl reload kraft@K1")
    with_lock = replace(found, pid=5)
    problem = only(cluster.node(with_lock))
    assert problem.command == "systemctl reload kraft@K1"
    assert "--token-file" not in problem.text
