"""The conversation at a terminal, and the Java shell's."""

import pytest

from kraft.cli.failure import WrongUsage
from kraft.cli.main import main
from kraft.cli.shell.java import JavaShell, parse_servers
from kraft.resp.values import Error, Push
from tests.cli.nodes import NO_LEADER
from tests.cli.shell.conftest import TypedLines

GREETING = "K1 127.0.0.1:10011, K1 leads. `help` lists the commands, Ctrl-D leaves.\n"


def test_it_greets_and_answers_until_the_end(make_shell, screen):
    prompt = TypedLines("set a 1", "", "client list")
    assert make_shell().interact(prompt) == 0
    assert screen.out.decode() == f"{GREETING}OK\nOK\n\n"
    assert prompt.labels == ["K1> "] * 4
    assert prompt.remembered == ["set a 1", "client list"]


def test_a_wrong_quote_costs_the_line(make_shell, screen):
    prompt = TypedLines('set a "b"c', "get a")
    assert make_shell().interact(prompt) == 0
    assert "a closing quote is not followed by a space" in screen.err.decode()
    assert prompt.remembered == ["get a"]


@pytest.mark.parametrize("word", ["exit", "quit", "EXIT"])
def test_exit_leaves(make_shell, cluster, word):
    assert make_shell().interact(TypedLines(word, "set a 1")) == 0
    assert (b"set", b"a", b"1") not in cluster["K1"].received


def test_ctrl_c_cancels_the_line(make_shell, screen):
    assert make_shell().interact(TypedLines(KeyboardInterrupt(), "get a")) == 0
    assert screen.out.decode().endswith("\nOK\n\n")


def test_ctrl_c_cancels_a_command_that_waits(make_shell, cluster, screen):
    """Of one that changes something, the outcome is unknown."""
    shell = make_shell()
    shell.client.ask()
    for words in ([b"info"], [b"set", b"a", b"1"]):
        cluster["K1"].answers = [KeyboardInterrupt()]
        shell.perform(words)
    assert screen.err.decode().splitlines() == [
        "cancelled",
        "cancelled: it may or may not have been executed",
    ]


def test_a_failure_costs_one_command(make_shell, cluster, screen):
    cluster["K1"].answers = ["OK", ConnectionResetError(104, "Connection reset by peer")]
    prompt = TypedLines("set a 1", "set b 2")
    assert make_shell().interact(prompt) == 0
    assert "may or may not have been executed" in screen.err.decode()
    assert screen.out.decode() == f"{GREETING}OK\n\n"


def test_the_prompt_shows_a_transaction_and_a_lost_connection(make_shell, cluster):
    prompt = TypedLines("multi", "exec")
    shell = make_shell()
    shell.interact(prompt)
    assert prompt.labels == ["K1> ", "K1(TX)> ", "K1> "]
    cluster["K1"].up = False
    assert shell.label == "not connected> "


def test_it_starts_without_a_cluster(make_shell, cluster, screen):
    """The nodes may be started in another terminal."""
    for node in cluster.nodes:
        node.up = False
    prompt = TypedLines("get a")
    make_shell().interact(prompt)
    assert prompt.labels == ["not connected> "] * 2
    assert screen.err.decode().count("no node answers: K1 127.0.0.1:10011: Connection refused;") == 2


def test_a_slow_command_shows_its_time(make_shell, cluster, screen):
    cluster["K1"].answers = [NO_LEADER]
    cluster["K2"].answers = [NO_LEADER] * 5
    cluster.leader = ""
    shell = make_shell()
    cluster.asleep = lambda: setattr(cluster, "now", cluster.now + 1)
    shell.perform([b"get", b"a"])
    assert screen.out.decode().splitlines()[-1].endswith("s)")


def test_what_the_node_sends_by_itself_is_shown_first(make_shell, cluster, screen):
    shell = make_shell()
    shell.client.ask()
    cluster.connections[-1].pushes.append(Push((b"invalidate",)))
    shell.perform([b"get", b"a"])
    assert screen.out.decode() == '1> "invalidate"\nOK\n'


def test_a_command_that_would_silence_the_server_is_refused(make_shell, cluster, screen):
    make_shell().perform([b"client", b"reply", b"off"])
    assert "waits for every reply" in screen.err.decode()
    assert cluster["K1"].received == []


def test_errors_are_apart_from_raw_replies(make_shell, cluster, screen):
    shell = make_shell(raw=True)
    shell.client.ask()
    cluster["K1"].answers = [Error("ERR no")]
    shell.perform([b"get", b"a"])
    assert (screen.out, screen.err) == (b"", b"ERR no\n")


# -- the Java shell -----------------------------------------------------------------------------------

BANNER = """\
Welcome to KRaft KVStore Shell

***********************************************
current server list:

K1,127.0.0.1,10011
K2,127.0.0.1,10012
K3,127.0.0.1,10013
***********************************************
"""


def java(make_shell, screen, *typed):
    """What the Java shell has written to standard output after its banner, and to standard error."""
    assert make_shell(JavaShell).interact(TypedLines(*typed)) == 0
    assert screen.out.decode().startswith(BANNER)
    return screen.out.decode().removeprefix(BANNER), screen.err.decode()


def test_the_java_shell_gets_and_sets(make_shell, cluster, screen):
    """The value is the rest of the line; one that is missing is `null`."""
    cluster["K1"].answers = ["OK", b"Khighness it's", None]
    typed = ("kvstore-set me Khighness it's", "kvstore-get me", "kvstore-get you", "exit")
    assert java(make_shell, screen, *typed) == ("Khighness it's\nnull\nbye\n", "")
    assert cluster["K1"].received[0] == (b"kvstore-set", b"me", b"Khighness it's")


def test_the_java_shell_keeps_a_list_of_servers(make_shell, screen):
    typed = (
        "client-add-server K4 127.0.0.1 10014",
        "client-remove-server K1",
        "client-remove-server K9",
        "client-list-server",
        "client-add-server K5 127.0.0.1 x",
        "exit",
    )
    listed = "K2,127.0.0.1,10012\nK3,127.0.0.1,10013\nK4,127.0.0.1,10014\n"
    out, err = java(make_shell, screen, *typed)
    assert out == f"K1,127.0.0.1,10011\n{listed}{listed}{listed}bye\n"
    assert err == "no such server [K9]\nillegal port [x]\n"


def test_the_java_shell_knows_the_leader(make_shell, cluster, screen):
    """Another server may be asked first; it sends the shell on to the leader."""
    cluster.leader = "K2"
    typed = ("client-get-leader", "client-set-leader K3", "client-set-leader K9", "client-get-leader")
    assert java(make_shell, screen, *typed) == ("K2\nK3\nK2\n\n", "no such server [K9] in list\n")


def test_the_java_shell_changes_the_members(make_shell, cluster, screen):
    """Silently, as the Java shell does; a refusal is printed."""
    cluster["K1"].answers = ["OK", Error("ERR K9 is not a member")]
    typed = ("raft-add-node K4 127.0.0.1 10004", "raft-remove-node K9", "raft-add-node K4 127.0.0.1 x")
    assert java(make_shell, screen, *typed) == ("\n", "ERR K9 is not a member\nillegal port [x]\n")
    assert cluster["K1"].received == [
        (b"raft-add-node", b"K4", b"127.0.0.1", b"10004"),
        (b"raft-remove-node", b"K9"),
    ]


def test_every_other_command_works_in_the_java_shell(make_shell, cluster, screen):
    cluster["K1"].answers = [b"1", Error("ERR unknown command 'juggle', with args")]
    assert java(make_shell, screen, "get a", "juggle") == ('"1"\n\n', "no such command [juggle]\n")


@pytest.mark.parametrize(
    ("typed", "usage"),
    [
        ("kvstore-get", "usage: kvstore-get <key>"),
        ("kvstore-set a", "usage: kvstore-set <key> <value>"),
        ("raft-add-node K4", "usage: raft-add-node <node-id> <host> <raft-rpc-node>"),
        ("raft-remove-node", "usage: raft-remove-node <node-id>"),
        ("client-add-server K4 x", "usage: client-add-server <node-id> <host> <service-port>"),
        ("client-remove-server", "usage: client-remove-server <node-id>"),
        ("client-set-leader", "usage: client-set-leader <node-id>"),
    ],
)
def test_the_java_shell_explains_its_usage(make_shell, screen, typed, usage):
    assert java(make_shell, screen, typed)[1] == f"{usage}\n"


def test_the_java_shell_without_servers(make_shell, cluster, screen):
    for node in cluster.nodes:
        node.up = False
    assert java(make_shell, screen, "kvstore-get me")[1] == "no available server\n"


@pytest.mark.parametrize(
    "words", [["K1,127.0.0.1,10011 K2,::1,10012"], ["K1,127.0.0.1,10011", "K2,::1,10012"]]
)
def test_servers_of_the_java_launcher(words):
    """In one word or in several."""
    assert [(each.id, each.address) for each in parse_servers(words)] == [
        ("K1", ("127.0.0.1", 10011)),
        ("K2", ("::1", 10012)),
    ]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("K1,127.0.0.1", "illegal server config [K1,127.0.0.1]"),
        ("K1,127.0.0.1,x", "illegal port [x]"),
        ("K1,127.0.0.1,70000", "70000"),
    ],
)
def test_wrong_servers_are_named_as_by_the_java_launcher(word, text):
    with pytest.raises(WrongUsage) as wrong:
        parse_servers([word])
    assert text in str(wrong.value)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "4000", "soon"])
def test_a_timeout_is_a_positive_number(seconds, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["shell", "--timeout", seconds])
    assert ended.value.code == 2
    assert "is not a number of seconds above 0, up to 3600" in capsys.readouterr().err
