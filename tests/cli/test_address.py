"""Addresses of nodes as people type them."""

import pytest

from kraft.cli import address
from kraft.cli.address import find, find_client, known_nodes, parse
from kraft.cli.status_reply import StatusPoll
from tests.web.reports import report

FILE = """\
node: {{id: {id}, data: data}}
cluster: {{standby: true}}
http: {{listen: "{listen}"}}
"""


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("127.0.0.1", "127.0.0.1:10021"),
        ("127.0.0.1:10022", "127.0.0.1:10022"),
        ("http://127.0.0.1:10021/", "127.0.0.1:10021"),
        ("HTTP://db1", "db1:10021"),
        ("http://db1:21/status?full#top", "db1:21"),
        ("db1:21/status", "db1:21"),
        ("redis://db1:11", "db1:11"),
        (" db1 ", "db1:10021"),
        ("10022", "127.0.0.1:10022"),
        ("[::1]:10021", "[::1]:10021"),
        ("::1", "[::1]:10021"),
        ("[fd00:0:0::5]", "[fd00::5]:10021"),
        ("http://[::1]/", "[::1]:10021"),
        ("bücher.example:21", "xn--bcher-kva.example:21"),
        ("a" * 63, "a" * 63 + ":10021"),
    ],
)
def test_an_address_is_understood(text, meant):
    """Host, port, URL, IPv6 with and without brackets, a host name in Unicode."""
    assert str(parse(text)) == meant


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not an address"),
        (" ", "is not an address"),
        ("\udcff:1", "is not an address"),
        ("a\nb", "is not an address"),
        ("a" * 64, "longer than 63 characters"),
        ("a" * 64 + ":10021", "longer than 63 characters"),
        (".".join(["a" * 60] * 5), "is not a host name"),
        ("ftp://db1", "is not an address"),
        ("http://me:secret@db1/", "leave out the user name"),
        ("db1:", "no port after the colon"),
        (":10021", "has no host"),
        ("http://", "has no host"),
        ("db1:0", "a number from 1 to 65535"),
        ("db1:70000", "a number from 1 to 65535"),
        ("db1:9" * 1 + "9" * 5000, "a number from 1 to 65535"),
        ("0", "a number from 1 to 65535"),
        ("db1:http", "a number from 1 to 65535"),
        ("db1:\uff11", "a number from 1 to 65535"),
        ("[::1", "write IPv6 as"),
        ("[::1]10021", "write IPv6 as"),
        ("[db1]:10021", "is not an IPv6 address"),
        ("::1:10021:x", "is not an IPv6 address"),
        ("/run/kraft/http.sock", "is a path"),
        ("unix:/run/kraft/http.sock", "is a path"),
        ("db1:21,db2:21", "as several words"),
        ("db1 db2", "as several words"),
        ("db_1!:21", "is not a host name"),
        ("a..b", "is not a host name"),
    ],
)
def test_anything_else_is_refused_in_one_line(text, reason):
    """The line can be printed, whatever was typed."""
    with pytest.raises(ValueError, match=reason) as refused:
        parse(text)
    line = str(refused.value)
    assert line.isprintable()
    assert len(line) < 250
    line.encode()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory; a machine without /etc/kraft."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(address, "PATTERNS", address.PATTERNS[:2])
    return tmp_path


def nobody(_address):
    raise AssertionError("no node is asked")


def write(path, id_, listen="tcp:10041:interface=127.0.0.1"):
    """A configuration file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FILE.format(id=id_, listen=listen))


def test_the_id_of_a_node_is_found_in_the_files_at_hand(folder):
    """The file here, and those of the demo; a broken file is none."""
    write(folder / "kraft.yaml", "alpha")
    write(folder / "kraft-demo" / "K2" / "kraft.yaml", "K2", "tcp:10022")
    (folder / "kraft-demo" / "K1").mkdir()
    (folder / "kraft-demo" / "K1" / "kraft.yaml").write_text("{")
    assert find("alpha", nobody) == "127.0.0.1:10041"
    assert find("K2", nobody) == "127.0.0.1:10022"
    assert find("K2:99", nobody) == "K2:99"
    assert find("http://K2/", nobody) == "K2:10021"


def test_without_an_address_the_nodes_at_hand_are_asked_if_the_usual_one_is_down(folder, http_nodes):
    """Right after K1 of the demo was killed, `kraft status` shows K1 and the others."""
    at = http_nodes.start(K1=None, K2=lambda members: report("K2", members=members), K3=None)
    for id_ in ("K1", "K2"):
        endpoint = f"tcp:{at[id_].rpartition(':')[2]}:interface=127.0.0.1"
        write(folder / "kraft-demo" / id_ / "kraft.yaml", id_, endpoint)
    write(folder / "kraft-demo" / "K9" / "kraft.yaml", "K9", "")
    assert known_nodes() == {"K1": at["K1"], "K2": at["K2"]}

    def nobody_else() -> dict[str, str]:
        raise AssertionError("the node that was given answers")

    down = StatusPoll([at["K3"]], 5.0, known=known_nodes)
    told = [("K1", True), ("K2", False), ("K3", True)]  # K2 names K3
    assert [(each.name, each.status is None) for each in down.ask()] == told
    assert [(each.name, each.status is None) for each in down.ask()] == told
    assert [each.name for each in StatusPoll([at["K2"]], 5.0, only=True, known=nobody_else).ask()] == ["K2"]
    assert StatusPoll([at["K3"]], 5.0).ask()[0].error == "Connection refused"


def test_a_node_at_hand_that_is_no_member_any_more_is_not_shown(folder, http_nodes):
    """K1 of the demo was removed for good, and K2 lost its process. Its files are still there."""
    at = http_nodes.start(K1=None, K2=None, K3=lambda members: report("K3", members=members[1:]))
    for id_ in ("K1", "K2", "K3"):
        endpoint = f"tcp:{at[id_].rpartition(':')[2]}:interface=127.0.0.1"
        write(folder / "kraft-demo" / id_ / "kraft.yaml", id_, endpoint)
    poll = StatusPoll([at["K1"]], 5.0, known=known_nodes)
    told = [("K2", True), ("K3", False)]
    assert [(each.name, each.status is None) for each in poll.ask()] == told
    assert [(each.name, each.status is None) for each in poll.ask()] == told
    http_nodes.stop("K3")
    assert [(each.name, each.status is None) for each in poll.ask()] == [("K2", True), ("K3", True)]


def test_all_nodes_at_hand_are_shown_where_none_of_them_answers(folder, http_nodes):
    at = http_nodes.start(K1=None, K2=None)
    for id_ in ("K1", "K2"):
        endpoint = f"tcp:{at[id_].rpartition(':')[2]}:interface=127.0.0.1"
        write(folder / "kraft-demo" / id_ / "kraft.yaml", id_, endpoint)
    poll = StatusPoll([at["K1"]], 5.0, known=known_nodes)
    assert [(each.name, each.status is None) for each in poll.ask()] == [("K1", True), ("K2", True)]


def test_the_id_of_another_member_is_asked_for(folder):
    """The nodes at hand know the members of their cluster."""
    write(folder / "kraft.yaml", "K1")
    asked = []

    def members(at):
        asked.append(at)
        return {"K1": "10.0.0.1:21", "K3": "10.0.0.3:21", "K4": ""}

    assert find("K3", members) == "10.0.0.3:21"
    assert find("K4", members) == "K4:10021"
    assert asked == ["127.0.0.1:10041"] * 2


def test_a_name_that_no_file_and_no_node_knows_is_a_host(folder):
    """Nothing is asked where there is no file."""
    assert find("db1", nobody) == "db1:10021"


def test_a_node_without_an_http_port_is_said_to_have_none(folder):
    """Its id is understood all the same."""
    write(folder / "kraft.yaml", "K1", "")
    with pytest.raises(ValueError, match="K1 has no HTTP port"):
        find("K1", nobody)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("db1", "db1:10011"), ("redis://db1:21/", "db1:21"), ("21", "127.0.0.1:21"), ("::1", "[::1]:10011")],
)
def test_a_client_port_is_named_in_the_same_forms(text, meant):
    assert str(find_client(text)) == meant


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://db1:10021", "is not an address: write HOST, HOST:PORT, redis://HOST:PORT"),
        ("redis://me@db1", "the client port of a node asks for none"),
        ("[::1", "write IPv6 as \\[::1\\]:10011"),
    ],
)
def test_a_refusal_names_the_client_port(text, reason):
    with pytest.raises(ValueError, match=reason):
        find_client(text)


def test_a_client_port_is_found_by_the_id_of_its_node(tmp_path, monkeypatch):
    """In the configuration files at hand; a path or a taken id says what is missing."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "kraft.yaml"
    file.write_text('node: {id: K1, data: data}\nclient: {listen: "tcp:7011:interface=127.0.0.1"}\n')
    assert str(find_client("K1")) == "127.0.0.1:7011"
    assert str(find_client("K1:5")) == "K1:5"
    assert str(find_client("K2")) == "K2:10011"
    file.write_text(
        f'node: {{id: K1, data: data}}\nclient: {{listen: "unix:{tmp_path}/c", advertise: "a:1"}}\n'
    )
    with pytest.raises(ValueError, match="K1 has no client port: "):
        find_client("K1")
