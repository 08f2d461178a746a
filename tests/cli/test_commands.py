"""The command line itself: help with examples everywhere, and exit status 0, 1, 2."""

import json

import pytest

from kraft import __version__
from kraft.cli.local_cluster import find_or_create, present
from kraft.cli.main import main
from kraft.cli.subcommands import SUBCOMMANDS

GOOD = "node: {id: K1, data: data}\n"
BAD = "node: {id: K1, data: data}\nraft: {electon_timeout: 1s}\nclient: {routing: sideways}\n"


@pytest.fixture
def config(tmp_path):
    """`config(text)`: the path of a file with this text."""

    def write(text):
        path = tmp_path / "kraft.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("command", [[], *([known.name] for known in SUBCOMMANDS)])
def test_help_shows_examples_and_exit_statuses(command, capsys):
    """Of the program and of each command."""
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "exit status:" in text


def test_version(capsys):
    """One line, the version of the package."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"kraft {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["juggle"],
        ["check-config"],
        ["demo", "--nodes", "0"],
        ["demo", "--nodes", "10"],
        ["demo", "--nodes", "many"],
        ["demo", "--base-port", "65530"],
        ["demo", "--add", "--nodes", "3"],
    ],
)
def test_wrong_usage_is_status_2(arguments, capsys):
    """argparse's own answer, on standard error."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: kraft" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["help"]])
def test_without_a_command_the_commands_are_listed(arguments, capsys):
    """On standard output, with status 0: nothing was asked, and nothing is wrong."""
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    for command in ("demo", "status", "doctor", "check-config", "recover"):
        assert f"\n    {command}" in shown.out


def test_help_of_a_command_in_both_orders(capsys):
    texts = []
    for arguments in (["help", "status"], ["status", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["statsu"], "kraft: error: there is no command 'statsu'; did you mean 'status'?"),
        (["dcotor", "x.yaml"], "kraft: error: there is no command 'dcotor'; did you mean 'doctor'?"),
        (["xyzzy"], "kraft: error: there is no command 'xyzzy'; kraft help lists the commands"),
        (["help", "statsu"], "kraft: error: there is no command 'statsu'; did you mean 'status'?"),
        (
            ["demo", "statsu"],
            "kraft demo: error: 'statsu' is one word too many; did you mean 'kraft status'?",
        ),
        (["demo", "xyzzy"], "kraft demo: error: 'xyzzy' is one word too many"),
        (["status", "--jsno"], "kraft status: error: there is no option --jsno; did you mean '--json'?"),
        (["demo", "--noeds=3"], "kraft demo: error: there is no option --noeds; did you mean '--nodes'?"),
        (["status", "--xyzzy"], "kraft status: error: there is no option --xyzzy"),
        (
            ["transfer", "--force"],
            "kraft transfer: error: there is no option --force; did you mean '--cert'?",
        ),
        (["backup", "list", "a", "--json", "b"], "kraft backup: error: 'b' is one word too many"),
        (["--versoin"], "kraft: error: there is no option --versoin; did you mean '--version'?"),
    ],
)
def test_a_slip_of_the_finger_is_answered_with_what_was_meant(arguments, line, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == line


def test_an_option_of_another_command_in_the_examples_is_not_proposed(capsys):
    with pytest.raises(SystemExit):
        main(["transfer", "--force"])
    assert "'--force'" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["backup", "list", "--json", "DIR"],
        ["backup", "--json", "list", "DIR"],
        ["backup", "list", "DIR", "--json"],
    ],
)
def test_options_may_stand_between_words(arguments, tmp_path, capsys):
    (tmp_path / "DIR").mkdir()
    assert main([word.replace("DIR", str(tmp_path / "DIR")) for word in arguments]) == 0
    assert json.loads(capsys.readouterr().out) == {"clusters": []}


def test_options_may_stand_between_the_nodes_that_are_asked(capsys):
    assert main(["status", "127.0.0.1:1", "--only", "--json", "127.0.0.1:2"]) == 1
    asked = [each["address"] for each in json.loads(capsys.readouterr().out)["nodes"]]
    assert asked == ["127.0.0.1:1", "127.0.0.1:2"]


def test_adding_a_node_needs_a_cluster_that_runs(tmp_path, capsys):
    """One line, status 1, and nothing is written."""
    assert main(["demo", "--add", "--dir", str(tmp_path / "demo")]) == 1
    assert "holds no cluster" in capsys.readouterr().err
    [node] = find_or_create(tmp_path / "demo", 1, 30_000)
    node.config.write_text(node.config.read_text().replace("tcp:30011", "tcp:1"))
    assert main(["demo", "--add", "--dir", str(tmp_path / "demo")]) == 1
    assert "answers: start them with `kraft demo" in capsys.readouterr().err
    assert present(tmp_path / "demo") == {"K1"}


def test_check_config_of_a_usable_file(config, capsys):
    """One line, status 0."""
    path = config(GOOD)
    assert main(["check-config", path]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: ok (node K1")


def test_check_config_says_what_a_node_without_members_does(config, capsys):
    """It is a cluster by itself, or waits for one."""
    assert main(["check-config", config(GOOD)]) == 0
    assert "members: none, it forms a cluster alone" in capsys.readouterr().out
    assert main(["check-config", config(GOOD + "cluster: {standby: true}\n")]) == 0
    assert "members: none, it waits to be added" in capsys.readouterr().out


def test_check_config_tells_every_problem(config, capsys):
    """A line for each, with option and place, status 1."""
    path = config(BAD)
    assert main(["check-config", path]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{path}:2: raft.electon_timeout: ")
    assert lines[1].startswith(f"{path}:3: client.routing: ")


@pytest.mark.parametrize(
    ("text", "valid", "options"), [(GOOD, True, []), (BAD, False, ["raft.electon_timeout", "client.routing"])]
)
def test_check_config_for_programs(config, capsys, text, valid, options):
    """The same facts as JSON."""
    path = config(text)
    assert main(["check-config", "--json", path]) == (0 if valid else 1)
    facts = json.loads(capsys.readouterr().out)
    assert facts["file"] == path
    assert facts["valid"] is valid
    assert [problem["option"] for problem in facts["problems"]] == options


@pytest.mark.parametrize("port", ["peer", "client", "http"])
@pytest.mark.parametrize(
    "listen",
    ["ssl:10011:privateKey=k.pem", "tls:1", "fd:3", "tcp:abc", "nosuch:1", "unix:/" + 107 * "a", "tcp:1:x"],
)
def test_check_config_refuses_what_no_node_could_listen_on(config, capsys, port, listen):
    """One line with the option, before anything is started."""
    path = config(GOOD + f"{port}: {{listen: '{listen}', advertise: '127.0.0.1:1'}}\n")
    assert main(["check-config", path]) == 1
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{path}:2: {port}.listen: ")


def test_check_config_of_a_file_that_may_not_be_read(config, capsys):
    """Also one that never ends."""
    assert main(["check-config", "/dev/zero"]) == 1
    assert "the text is longer than" in capsys.readouterr().out
    assert main(["check-config", "/etc"]) == 1
    assert "/etc: cannot be read: Is a directory" in capsys.readouterr().out


def test_check_config_without_a_file(tmp_path, capsys):
    """A missing file is a problem like any other."""
    assert main(["check-config", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml: cannot be read: No such file" in capsys.readouterr().out
