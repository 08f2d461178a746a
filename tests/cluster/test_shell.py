"""`kraft shell` and the other clients of the command line, on real nodes, through failovers."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from kraft.cli.shell.catalog import CommandCatalog
from tests.cluster.harness import wait_until
from tests.cluster.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KRAFT = [Path(sysconfig.get_path("scripts")) / "kraft"]
MISSING = "import sys; sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(','))); "
MAIN = "from kraft.cli.main import main; sys.exit(main())"


def without(*modules):
    """The kraft command on a machine where these modules are not installed."""
    return [sys.executable, "-c", MISSING + MAIN, ",".join(modules)]


PROMPTS = {
    "prompt_toolkit": KRAFT,
    "readline": without("prompt_toolkit"),
    "plain": without("prompt_toolkit", "readline"),
}
every_prompt = pytest.mark.parametrize("command", PROMPTS.values(), ids=PROMPTS)


@pytest.fixture
def open_terminal(tmp_path):
    """`open_terminal(command, *arguments)`: kraft in a terminal, with a history of its own."""
    opened = []

    def start(command, *arguments):
        terminal = Terminal([*command, *arguments], {"XDG_STATE_HOME": str(tmp_path)})
        opened.append(terminal)
        return terminal

    yield start
    for terminal in opened:
        terminal.close()


def address(server):
    return f"127.0.0.1:{server.client_port}"


def java(cluster):
    """The servers as the Java launcher takes them."""
    return " ".join(f"{server.id},127.0.0.1,{server.client_port}" for server in cluster)


def run(*arguments, typed=b"", servers=""):
    """kraft with pipes: its exit status, standard output and standard error."""
    done = subprocess.run(
        [*KRAFT, *arguments],
        input=typed,
        capture_output=True,
        timeout=120,
        env=os.environ | {"KRAFT_SERVERS": servers},
    )
    return done.returncode, done.stdout, done.stderr.decode()


# -- in a terminal ------------------------------------------------------------------------------------


@every_prompt
def test_a_conversation_goes_on_when_its_leader_dies(cluster, open_terminal, command):
    """It was told one follower. The write after the kill succeeds, and nobody is asked to do anything."""
    leader, follower = cluster.leader(), cluster.followers()[0]
    terminal = open_terminal(command, "shell", address(follower))
    terminal.wait(f"{leader.id} leads")
    terminal.wait_prompt()
    terminal.type("set greeting hello")
    terminal.wait("OK")
    leader.kill()
    terminal.type("incr visits")
    terminal.wait("(integer) 1")
    terminal.type("get greeting")
    terminal.wait('"hello"')
    terminal.wait_prompt(but=leader.id)
    assert "the node closed the connection" in terminal.text
    terminal.send("\x04")
    assert terminal.end() == 0
    assert cluster.leader().ask("GET", "visits") == b"1"


@every_prompt
def test_a_write_that_a_hanging_leader_got_is_not_sent_twice(cluster, open_terminal, command):
    """The shell says that it does not know; a read goes to another node by itself."""
    leader = cluster.leader()
    terminal = open_terminal(command, "shell", "--timeout", "3", address(leader))
    terminal.wait(f"{leader.id} leads")
    terminal.wait_prompt()
    terminal.type("set visits 10")
    terminal.wait("OK")
    leader.pause()
    terminal.type("get visits")
    terminal.wait('"10"')
    leader.resume()
    leader = cluster.leader()
    terminal.type("kraft status")
    terminal.wait("machine_version_supported")
    leader.pause()
    terminal.type("incr visits")
    terminal.wait("the command may or may not have been executed: check before you repeat it")
    terminal.type("get visits")
    terminal.wait_prompt(but=leader.id)
    leader.resume()
    cluster.wait_serving()
    assert int(leader.ask("GET", "visits")) in (10, 11)


@every_prompt
def test_keys_of_the_terminal(cluster, open_terminal, command):
    """Ctrl-C cancels a line, an open quote and a command that waits; an open quote continues."""
    one, two, three = cluster
    terminal = open_terminal(command, "shell", *map(address, cluster))
    terminal.wait("leads")
    terminal.wait_prompt()
    terminal.send("set a")
    terminal.interrupt()
    terminal.type("set a 'x")
    terminal.wait("...")
    terminal.interrupt()
    terminal.type("set a 'x")
    terminal.wait("...", 2)
    terminal.type("y'")
    terminal.wait("OK")
    terminal.type("get a")
    terminal.wait('"x\\ny"')
    two.kill()
    three.kill()
    wait_until(lambda: getattr(one.ask("SET", "a", "b"), "prefix", "") == "CLUSTERDOWN", "K1 knows no leader")
    terminal.type("set a lost")
    terminal.wait("trying again")
    terminal.interrupt()
    terminal.wait("cancelled")
    terminal.type("exit")
    assert terminal.end() == 0
    assert one.ask("READONLY") == "OK"


@pytest.mark.parametrize("name", ["prompt_toolkit", "readline"])
def test_completion_and_history(shared_cluster, open_terminal, name):
    """Tab completes by what the server says of its commands; the next shell knows what this one was told."""
    terminal = open_terminal(PROMPTS[name], "shell", address(shared_cluster["K1"]))
    terminal.wait("leads")
    terminal.wait_prompt()
    terminal.send("kraft memb\t")
    terminal.wait("kraft members")
    terminal.send("\r")
    terminal.wait('"id" => "K3"')
    terminal.type("auth secret")
    terminal.wait("auth secret")
    terminal.wait_prompt()
    terminal.send("\x04")
    assert terminal.end() == 0
    again = open_terminal(PROMPTS[name], "shell", address(shared_cluster["K1"]))
    again.wait("leads")
    again.wait_prompt()
    again.send("\x1b[A")  # the key "up"
    again.wait("> kraft members")


@pytest.mark.parametrize("name", ["prompt_toolkit", "readline"])
def test_completion_knows_subcommands_and_options(shared_cluster, open_terminal, name):
    """Of every family, also of those that came after the shell."""
    terminal = open_terminal(PROMPTS[name], "shell", address(shared_cluster["K1"]))
    terminal.wait("leads")
    terminal.wait_prompt()
    for typed, shown in (
        ("kraft ra\t", "> kraft range"),
        ("kraft range PREF\t", "> kraft range PREFIX"),
        ("function st\t", "> function stats"),
        ("script lo\t", "> script load"),
        ("fcall_\t", "> fcall_ro"),
    ):
        terminal.send(typed)
        terminal.wait(shown)
        terminal.send("\x15")  # Ctrl-U deletes the line
        terminal.wait_prompt()


def test_hints_show_the_syntax_while_typing(shared_cluster, open_terminal):
    terminal = open_terminal(KRAFT, "shell", address(shared_cluster["K1"]))
    terminal.wait("leads")
    terminal.wait_prompt()
    for typed, shown in (
        ("kraft add ", "KRAFT ADD id host raft-port [LEARNER] [FORCE]"),
        ("kraft range ", "KRAFT RANGE <start-key end-key|PREFIX prefix> [AFTER last-key] [LIMIT count]"),
        ("eval 'return 1' ", "EVAL script numkeys [key [key ...]] [arg [arg ...]]"),
        ("function load ", "Stores a library on all nodes; returns its name."),
    ):
        terminal.send(typed)
        terminal.wait(shown)
        terminal.interrupt()
        terminal.wait_prompt()
    terminal.type("help kraft drain")
    terminal.wait("KRAFT DRAIN <ON|OFF>")


def test_colours_unless_they_are_unwanted(shared_cluster, open_terminal, monkeypatch):
    for unwanted, escape in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", unwanted)
        terminal = open_terminal(PROMPTS["plain"], "shell", address(shared_cluster["K1"]))
        terminal.wait("leads")
        terminal.wait_prompt()
        terminal.type("incr")
        terminal.wait("(error) ERR wrong number of arguments")
        assert (b"\x1b[31m(error)" in terminal.raw) is escape


TRANSCRIPT = """\
Welcome to KRaft KVStore Shell

***********************************************
current server list:

{servers}
***********************************************
kvstore-client 1.0.0> kvstore-set me Khighness
kvstore-client 1.0.0> kvstore-get me
Khighness
kvstore-client 1.0.0> kvstore-get you
null
kvstore-client 1.0.0> client-get-leader
{leader}
kvstore-client 1.0.0> client-set-leader K2
K2
kvstore-client 1.0.0> client-list-server
{servers}
kvstore-client 1.0.0> kvstore-set
usage: kvstore-set <key> <value>
kvstore-client 1.0.0> juggle 1
no such command [juggle]
kvstore-client 1.0.0> incr visits
(integer) 1
kvstore-client 1.0.0> exit
bye
"""


@every_prompt
def test_the_transcript_of_the_java_shell(cluster, open_terminal, command):
    """Every byte of it without prompt_toolkit, which paints its prompt; every line of the screen with it."""
    servers = java(cluster).replace(" ", "\n")
    terminal = open_terminal(command, "shell", "-sc", java(cluster))
    for part in TRANSCRIPT.format(servers=servers, leader="K").split("kvstore-client 1.0.0> ")[1:]:
        line, _, answer = part.partition("\n")
        terminal.wait_last("kvstore-client 1.0.0>")
        terminal.type(line)
        terminal.wait(f"1.0.0> {line}")
        terminal.wait(answer.partition("\n")[0])
    assert terminal.end() == 0
    leader = terminal.lines[terminal.lines.index("kvstore-client 1.0.0> client-get-leader") + 1]
    assert leader in cluster.servers
    expected = TRANSCRIPT.format(servers=servers, leader=leader)
    assert terminal.lines == [line for line in expected.splitlines() if line]
    if command is not KRAFT:
        assert terminal.raw.decode().split("\r\n") == expected.split("\n")


# -- in a pipe ----------------------------------------------------------------------------------------


def test_scripts(shared_cluster, tmp_path):
    """From a pipe, a file and the command line; a failure names its line and does not stop the others."""
    servers = address(shared_cluster["K2"])
    script = b"set script 1\r\n# a comment\n\nincr script\nincr script oops\nset it's 1\nmget script none\n"
    status, out, err = run("shell", servers, typed=script)
    assert (status, out) == (1, b"OK\n2\n2\n\n")
    assert [line.partition(":")[0] for line in err.splitlines()] == ["line 5", "line 6"]
    file = tmp_path / "load.txt"
    file.write_bytes(script)
    status, out, err = run("shell", "--stop", "-f", str(file), servers=servers)
    assert (status, out) == (1, b"OK\n2\n")
    assert err == f"{file}:5: ERR wrong number of arguments for 'incr' command\n"
    status, out, err = run(
        "shell", servers, "--json", "-c", "get script", "-c", "get none", "-c", "incr", "-c", "time"
    )
    assert status == 1
    one, none, error, time = map(json.loads, out.splitlines())
    assert (one, none, list(error)) == ("2", None, ["error"])
    assert len(time) == 2


def test_one_shot_commands(shared_cluster):
    """Each outcome has its exit status; values are bytes."""
    servers = address(shared_cluster["K3"])
    value = bytes(range(256))
    assert run("set", "-s", servers, "blob", "-", typed=value) == (0, b"OK\n", "")
    assert run("get", "--raw", "blob", servers=servers) == (0, value, "")
    assert run("get", "blob", servers=servers)[1] == value + b"\n"
    assert run("set", "blob", "x", "NX", servers=servers)[0] == 3
    assert run("set", "blob", "x", "GET", servers=servers)[1] == value + b"\n"
    assert run("set", "-s", servers, "--", "cold", "-5c", "EX", "100")[0] == 0
    assert run("set", "cold", "1", "WRONG", servers=servers) == (1, b"", "kraft: ERR syntax error\n")
    assert run("del", "blob", "cold", "none", servers=servers) == (0, b"2\n", "")
    assert run("get", "blob", servers=servers) == (3, b"", "kraft: there is no key 'blob'\n")


def test_addresses_that_are_wrong_are_explained(shared_cluster):
    """Another port of the node, and one where nobody listens; at once, and in one line."""
    server = shared_cluster["K1"]
    for port, reason in ((server.http_port, "HTTP is spoken there"), (1, "Connection refused")):
        status, out, err = run("get", "a", servers=f"127.0.0.1:{port}")
        assert (status, out, err.count("\n")) == (1, b"", 1)
        assert reason in err
    status, _, err = run("get", "a", servers=f"127.0.0.1:{server.peer_port}")
    assert status == 1
    assert err.startswith("kraft: no node answers: ")
    assert run("get", "a", servers=f"127.0.0.1:1 {address(server)}")[0] == 3


def test_a_script_survives_the_loss_of_its_leader(cluster):
    """Its lines go on at another node. Each increment that was acknowledged is there, none is there twice."""
    leader = cluster.leader()
    process = subprocess.Popen(
        [*KRAFT, "shell", address(leader)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for number in range(1, 6):
        process.stdin.write(b"incr n\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"%d\n" % number
    leader.kill()
    rest, err = process.communicate(b"incr n\n" * 5, timeout=60)
    assert (rest, err) == (b"6\n7\n8\n9\n10\n", b"")
    assert process.returncode == 0
    assert cluster.leader().ask("GET", "n") == b"10"


def test_a_cluster_that_redirects(make_cluster):
    """MOVED is followed, unless it is asked not to."""
    cluster = make_cluster(3, client={"routing": "redirect"})
    for server in cluster:
        server.start()
    cluster.leader().wait_serving()
    follower = address(cluster.followers()[0])
    assert run("set", "-s", follower, "a", "1") == (0, b"OK\n", "")
    status, out, err = run("shell", "--no-follow", follower, "-c", "get a")
    assert (status, out) == (1, b"")
    assert err.startswith("command 1: MOVED ")


def test_a_lost_reply_of_a_command_that_only_looks_is_asked_for_again(shared_cluster):
    """Which these are is what the nodes say of their commands, and what the shell knows of some."""
    catalog = CommandCatalog()
    catalog.load(lambda words: shared_cluster["K1"].ask(*words))
    looks = (
        "GET",
        "SCAN",
        "KRAFT RANGE",
        "KRAFT REV",
        "FUNCTION LIST",
        "SCRIPT EXISTS",
        "FCALL_RO",
        "CLUSTER SLOTS",
    )
    writes = (
        "SET",
        "EVAL",
        "FCALL",
        "FUNCTION LOAD",
        "SCRIPT FLUSH",
        "KRAFT ONCE",
        "KRAFT LOCK",
        "KRAFT ADD",
        "EXEC",
    )
    words = {name: name.encode().split() for name in looks + writes}
    assert all(catalog.find(name.split()) for name in words)
    assert tuple(name for name in words if catalog.repeatable(words[name])) == looks


def test_redis_cli_shows_the_same(shared_cluster, need):
    """What the shell shows at a terminal is what redis-cli shows."""
    port = str(shared_cluster["K1"].client_port)
    for command in (
        ["set", "parity", 'a "quoted"\n\x01 value'],
        ["get", "parity"],
        ["get", "none"],
        ["mget", "parity", "none", *["x"] * 10],
        ["strlen", "parity"],
        ["incr", "parity"],
        ["command", "docs", "get"],
        ["command", "info", "get", "none"],
        ["cluster", "slots"],
        ["kraft", "members"],
        ["config", "get", "m*"],
        ["client", "getname"],
    ):
        theirs = subprocess.run(
            [need("redis-cli"), "-3", "--no-raw", "-p", port, *command], capture_output=True, timeout=30
        ).stdout
        words = " ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in command)
        typed = words.replace("\n", "\\n")
        ours = run("shell", "--no-follow", "--no-raw", f"127.0.0.1:{port}", "-c", typed)
        shown = ours[1] or f"(error) {ours[2].partition(': ')[2]}".encode()
        assert stable(shown) == stable(theirs), command


def stable(shown):
    """Without the numbers that change between two requests."""
    return [line for line in shown.decode().rstrip("\n").split("\n") if "last_contact" not in line]


# -- the members --------------------------------------------------------------------------------------


def test_the_members_are_changed_from_the_command_line(cluster):
    """add, replace, remove, transfer and drain, each with the members as they are then; refusals are kept."""
    servers = address(cluster["K1"])
    spare, newcomer = cluster.standby("K4", "K5")
    wait_until(lambda: spare.status() and newcomer.status(), "both nodes wait")

    status, out, _ = run("members", servers=servers)
    assert status == 0
    assert [line.split()[:2] for line in out.decode().splitlines()[1:4]] == [
        [name, "voter"] for name in ("K1", "K2", "K3")
    ]
    assert out.decode().splitlines()[-1] == f"{cluster.leader().id} leads"

    status, out, err = run("add", "K4", "127.0.0.1", str(spare.peer_port), "--learner", servers=servers)
    assert (status, err) == (0, "")
    assert out.decode().startswith("K4 is a learner; it stays one\n")
    status, out, err = run("add", "K4", f"127.0.0.1:{spare.peer_port}", servers=servers)
    assert status == 1
    assert err.startswith("kraft: K4 is a member already")

    status, out, err = run("replace", "K3", "K5", f"127.0.0.1:{newcomer.peer_port}", servers=servers)
    assert (status, err) == (0, "")
    assert out.decode().startswith("K5 is a learner; it takes the place of K3 once it has caught up\n")
    wait_until(lambda: cluster.kinds().get("K5") == "voter" and "K3" not in cluster.kinds(), "K5 votes")

    assert run("remove", "K4", servers=servers)[0] == 0
    assert sorted(cluster.kinds()) == ["K1", "K2", "K5"]
    assert run("remove", "K9", servers=servers)[2].startswith("kraft: K9 is not a member")

    other = "K2" if cluster.leader().id != "K2" else "K1"
    status, out, _ = run("transfer", other, servers=servers)
    assert status == 0
    assert out.decode().splitlines()[-1] == f"{other} leads"

    status, out, _ = run("drain", other, servers=servers)
    assert (status, out.decode()) == (
        0,
        f"{other} leads nothing until `kraft drain {other} --off` or a restart\n",
    )
    assert cluster.leader().id != other
    assert run("drain", other, "--off", servers=servers)[1].decode() == f"{other} may lead again\n"
    members = json.loads(run("members", "--json", servers=servers)[1])
    assert members["leader"] == cluster.leader().id
    assert len(members["members"]) == 3
