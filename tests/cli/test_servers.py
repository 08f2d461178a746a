"""The names of client ports: on the command line, in the environment, by default."""

import argparse
from functools import partial

import pytest

from kraft.cli import known_port, servers
from kraft.cli.failure import Failure
from kraft.cli.known_port import KnownPort
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


def given(*texts):
    """The options of a command that was given these addresses, without TLS."""
    options = {"tls": False, "tls_cacert": None, "tls_cert": None, "tls_key": None}
    return argparse.Namespace(servers=[servers.parse(text) for text in texts], **options)


def chosen(*texts):
    """What a command asks that was given these addresses, without TLS."""
    return servers.chosen(given(*texts))


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The addresses of nodes that were asked for their ids: 10.0.0.7 is K7, and 10.0.0.8 is K8, with TLS."""
    monkeypatch.chdir(tmp_path)  # no configuration is at hand
    found = []

    def recognise(address, _timeout, security):
        found.append(address)
        if address[0] == "10.0.0.8":
            return KnownPort("client", "K8", "") if security is not None else "nothing"
        return KnownPort("client", "K7", "") if address[0] == "10.0.0.7" else "nothing"

    monkeypatch.setattr(known_port, "recognise", recognise)
    return found


def test_the_environment_names_nodes(monkeypatch, asked):
    """The command line comes first, a demo's ports last."""
    monkeypatch.setenv("KRAFT_SERVERS", "10.0.0.1 K2,10.0.0.2,7000")
    assert [each.address for each in chosen()] == [("10.0.0.1", 10011), ("10.0.0.2", 7000)]
    assert chosen("10.0.0.9:10011") == [servers.parse("10.0.0.9:10011")]
    assert asked == []
    monkeypatch.setenv("KRAFT_SERVERS", "x:y")
    with pytest.raises(Failure, match="KRAFT_SERVERS: "):
        chosen()
    monkeypatch.delenv("KRAFT_SERVERS")
    assert [each.port for each in chosen()] == [10_011, 10_012, 10_013]


def test_an_id_is_looked_for_in_the_environment(monkeypatch, asked):
    """First where it is written, then by asking; a host may have the same form."""
    monkeypatch.setenv("KRAFT_SERVERS", "K2,10.0.0.2,7000 10.0.0.6 10.0.0.7:8000 /run/x.sock 10.0.0.8")
    assert [str(each) for each in chosen("K2")] == ["K2 10.0.0.2:7000"]
    assert asked == []
    assert [str(each) for each in chosen(" K7 ")] == ["K7 10.0.0.7:8000"]
    assert asked == [("10.0.0.2", 7000), ("10.0.0.6", 10011), ("10.0.0.7", 8000)]
    assert [each.address for each in chosen("db1")] == [("db1", 10011)]
    for text in ("K7:10011", "redis://K7/", "10011", "K7,10.0.0.9,1"):
        del asked[:]
        assert [each.id for each in chosen(text)] == [servers.parse(text).id]
        assert asked == []


@pytest.mark.parametrize("variable", ["10.0.0.6 rediss://10.0.0.8:8000", "rediss://10.0.0.8:8000 10.0.0.6"])
def test_a_node_that_is_given_by_its_id_has_tls_if_its_address_asks_for_that(monkeypatch, asked, variable):
    monkeypatch.setenv("KRAFT_SERVERS", variable)
    options = given("K8")
    assert is_secure(options)
    assert [str(each) for each in servers.chosen(options)] == ["K8 10.0.0.8:8000"]
    assert len(set(asked)) == len(asked)  # once
    assert not is_secure(given("10.0.0.6:10011"))


def is_secure(options):
    """Whether connections have TLS."""
    connect = servers.connector(options)
    assert isinstance(connect, partial)
    return connect.keywords["security"] is not None


def test_without_the_environment_an_id_is_a_host(monkeypatch, asked):
    monkeypatch.delenv("KRAFT_SERVERS", raising=False)
    assert [each.address for each in chosen("K7")] == [("K7", 10011)]
    assert asked == []
