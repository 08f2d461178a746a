"""The names of client ports: on the command line, in the environment, by default."""

import argparse

import pytest

from kraft.cli import servers
from kraft.cli.failure import Failure
from kraft.cli.servers import ServerAddress


@pytest.mark.parametrize(
    ("text", "id_", "address"),
    [
        ("10.0.0.1:10012", "10.0.0.1:10012", ("10.0.0.1", 10012)),
        ("10.0.0.1", "10.0.0.1:10011", ("10.0.0.1", 10011)),
        ("10012", "127.0.0.1:10012", ("127.0.0.1", 10012)),
        ("[::1]:10012", "[::1]:10012", ("::1", 10012)),
        ("[::1]", "[::1]:10011", ("::1", 10011)),
        ("redis://db.example:7000/", "db.example:7000", ("db.example", 7000)),
        ("K1,127.0.0.1,10011", "K1", ("127.0.0.1", 10011)),
        ("K1,::1,10011", "K1", ("::1", 10011)),
        ("/run/kraft/client.sock", "/run/kraft/client.sock", ("/run/kraft/client.sock", 0)),
        ("unix:/run/client.sock", "/run/client.sock", ("/run/client.sock", 0)),
    ],
)
def test_forms_of_an_address(text, id_, address):
    found = servers.parse(text)
    assert (found.id, found.address) == (id_, address)


def test_an_address_is_shown_with_its_node():
    assert str(ServerAddress("K1", "::1", 10011)) == "K1 [::1]:10011"
    assert str(servers.parse("10.0.0.1:1")) == "10.0.0.1:1"
    assert str(servers.parse("/run/x")) == "/run/x"


@pytest.mark.parametrize(
    "text", ["", "a:b", "h:0", "h:70000", "K1,h", "K1,h,x", "http://h:1/x", "\udcff:1", "a b", "h:1,g:1"]
)
def test_what_is_no_address_is_an_argument_error(text):
    with pytest.raises(argparse.ArgumentTypeError):
        servers.argument(text)


def test_the_environment_names_nodes(monkeypatch):
    """The command line comes first, a demo's ports last."""
    monkeypatch.setenv("KRAFT_SERVERS", "10.0.0.1 K2,10.0.0.2,7000")
    assert [each.address for each in servers.chosen(None)] == [("10.0.0.1", 10011), ("10.0.0.2", 7000)]
    given = servers.parse("10.0.0.9")
    assert servers.chosen([given]) == [given]
    monkeypatch.setenv("KRAFT_SERVERS", "x:y")
    with pytest.raises(Failure, match="KRAFT_SERVERS: "):
        servers.chosen([])
    monkeypatch.delenv("KRAFT_SERVERS")
    assert [each.port for each in servers.chosen([])] == [10_011, 10_012, 10_013]
