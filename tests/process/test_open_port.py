"""Client ports that are open to everybody: which are, and when a start is refused for it."""

import json
from pathlib import Path
from textwrap import dedent

import pytest

from kraft.cli.main import main
from kraft.config import ConfigError, parse
from kraft.process.open_port import check_first_start, open_option

OPEN = "client: {listen: 'tcp:7', advertise: 'h:7'%s}\n"
TLS = "tls: {certificate: c, key: k, ca: a}\n"
CERTIFIED = ", tls: required, certificates: required"
SYSTEMD = "client: {listen: 'systemd:domain=INET:name=client', advertise: '%s:7'}\n"


def config(text, folder=""):
    return parse("node: {id: K1, data: data}\n" + text, "kraft.yaml", str(folder))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", False),
        (OPEN % "", True),
        ("client: {listen: 'tcp:7:interface=10.0.0.1'}\n", True),
        ("client: {listen: 'tcp:7:interface=127.0.0.1'}\n", False),
        ("client: {listen: 'tcp6:7:interface=\\:\\:1', advertise: '[::1]:7'}\n", False),
        ("client: {listen: 'unix:/run/k', advertise: 'h:7'}\n", False),
        (SYSTEMD % "10.0.0.1", True),
        (SYSTEMD % "127.0.0.1", False),
        ((SYSTEMD % "10.0.0.1").replace("INET", "UNIX"), False),
        (OPEN % ", tls: required" + TLS, True),
        (OPEN % CERTIFIED + TLS, False),
        (OPEN % CERTIFIED.replace("tls: required", "tls: optional") + TLS, True),
    ],
)
def test_a_port_is_open_that_others_reach_without_a_certificate(text, found):
    assert open_option(config(text)) == ("client.listen" if found else "")


def test_the_example_of_a_shared_port_starts(tmp_path):
    page = (Path(__file__).parents[2] / "docs/one-machine.md").read_text()
    example = page[page.index("    # /etc/kraft/K1.yaml") : page.index("    systemctl start")]
    found = parse(dedent(example).replace("/var/lib/kraft", str(tmp_path)), "kraft.yaml")
    assert found.client.shared_listen
    check_first_start(found, "kraft.yaml")


def test_a_shared_port_counts_as_the_own_one():
    shared = "client: {shared_listen: 'tcp:9'%s}\n"
    assert open_option(config(shared % "")) == "client.shared_listen"
    assert open_option(config(shared % CERTIFIED + TLS)) == ""
    assert open_option(config((shared % "").replace("tcp:9", "tcp:9:interface=127.0.0.1"))) == ""


ALLOWED = [
    "",
    OPEN % ", unrestricted: true",
    OPEN % ", tls: required" + TLS,
    OPEN % "" + "users: {file: users.acl}\n",
    OPEN % "" + "cluster: {standby: true}\n",
    OPEN % "" + "restore: {source: backup}\n",
]
REFUSED = [OPEN % "", OPEN % ", tls: optional" + TLS, SYSTEMD % "10.0.0.1"]


@pytest.mark.parametrize("text", ALLOWED)
def test_what_is_guarded_or_allowed_starts(text, tmp_path):
    check_first_start(config(text, tmp_path), "kraft.yaml")


@pytest.mark.parametrize("text", REFUSED)
def test_the_first_start_of_an_open_port_is_refused_in_one_line(text, tmp_path):
    """It names both ways, and the option that allows it. A directory with data goes on."""
    with pytest.raises(ConfigError) as refused:
        check_first_start(config(text, tmp_path), "kraft.yaml")
    told = str(refused.value)
    assert "\n" not in told
    for word in (
        "client.listen",
        "users.file",
        "client.tls and client.certificates to required",
        "client.unrestricted: true",
    ):
        assert word in told

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "log.db").write_bytes(b"")
    check_first_start(config(text, tmp_path), "kraft.yaml")
    (tmp_path / "data" / "restoring").write_bytes(b"")
    with pytest.raises(ConfigError):
        check_first_start(config(text, tmp_path), "kraft.yaml")


def test_check_config_tells_before_the_start(tmp_path, capsys):
    file = tmp_path / "kraft.yaml"
    file.write_text("node: {id: K1, data: data}\n" + OPEN % "")
    assert main(["check-config", "--json", str(file)]) == 1
    [problem] = json.loads(capsys.readouterr().out)["problems"]
    assert problem["option"] == "client.listen"
