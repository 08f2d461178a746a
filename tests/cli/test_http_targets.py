"""Which HTTP ports `kraft status` and `kraft upgrade-check` ask first."""

import pytest

from kraft.cli import http_targets
from kraft.cli.failure import Failure, WrongUsage
from kraft.cli.http_access import PLAIN
from kraft.cli.http_targets import DEFAULT_ADDRESS
from kraft.cli.known_port import KnownPort
from kraft.cli.main import main
from tests.web.reports import report


@pytest.fixture
def nodes(http_nodes, monkeypatch, tmp_path):
    """K1 is down. Each has a client port, 127.0.0.1:1 to 127.0.0.1:3, which tells its HTTP port."""
    monkeypatch.chdir(tmp_path)
    at = http_nodes.start(
        K1=None,
        K2=lambda members: report("K2", members=members),
        K3=lambda members: report("K3", members=members),
    )

    def recognise(address, timeout, security):
        id_ = f"K{address[1]}"
        up = id_ in ("K2", "K3") and address[0] == "127.0.0.1"
        return KnownPort("client", id_, at[id_]) if up else "nothing listens there"

    monkeypatch.setattr(http_targets, "recognise", recognise)
    return at


def find(*given, only=False):
    return http_targets.find(given, 5.0, PLAIN, only=only)


def test_without_anything_this_machine_is_asked(nodes, monkeypatch):
    monkeypatch.delenv("KRAFT_SERVERS", raising=False)
    assert find() == [DEFAULT_ADDRESS]
    assert not http_targets.secure_by_default(())


def test_the_nodes_in_the_variable_are_asked(nodes, monkeypatch):
    """By their client ports. One that is down is known to the others."""
    monkeypatch.setenv("KRAFT_SERVERS", "127.0.0.1:1 K2,127.0.0.1,2 unix:/run/K3.sock 127.0.0.1:3")
    assert find() == [nodes["K2"], nodes["K3"]]
    assert find(only=True) == ["127.0.0.1:1", nodes["K2"], nodes["K3"]]
    assert find("10.0.0.9") == ["10.0.0.9:10021"], "a node that is given goes before"
    monkeypatch.setenv("KRAFT_SERVERS", "127.0.0.1:1")
    assert find() == ["127.0.0.1:1"], "nobody answers"
    monkeypatch.setenv("KRAFT_SERVERS", "rediss://127.0.0.1:2")
    assert http_targets.secure_by_default(())
    assert not http_targets.secure_by_default(("K1",))
    monkeypatch.setenv("KRAFT_SERVERS", "a,b")
    with pytest.raises(Failure, match="KRAFT_SERVERS: "):
        find()


def test_an_id_is_asked_of_the_nodes_that_are_known(nodes, monkeypatch):
    """Those of the variable, then the usual one, as of a demo in another directory."""
    monkeypatch.setenv("KRAFT_SERVERS", "127.0.0.1:2")
    assert find("K1", "K3") == [nodes["K1"], nodes["K3"]]
    monkeypatch.delenv("KRAFT_SERVERS")
    assert find("K1") == ["K1:10021"]
    monkeypatch.setattr(http_targets, "DEFAULT_ADDRESS", nodes["K3"])
    assert find("K1") == [nodes["K1"]]
    with pytest.raises(WrongUsage, match="is not an address"):
        find("a\tb")


@pytest.mark.parametrize("command", [["status"], ["upgrade-check"]])
def test_a_command_shows_the_cluster_of_the_variable(command, nodes, monkeypatch, capsys):
    monkeypatch.setenv("KRAFT_SERVERS", "127.0.0.1:1 127.0.0.1:2")
    assert main(command) == 1
    told = capsys.readouterr()
    assert "K1" in told.out
    assert "K3" in told.out
    assert "is the client port" not in told.out + told.err
