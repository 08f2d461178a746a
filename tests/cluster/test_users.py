"""Users on real nodes: a change holds everywhere, survives, and other nodes are no way around it."""

from functools import partial

import pytest

from tests.cluster.harness import Server, wait_until
from tests.cluster.wire import Client, Refusal

pytestmark = pytest.mark.slow

ROOT = ("ACL", "SETUSER", "root", "on", ">a-long-password-for-root", "~*", "&*", "+@all")


_OPEN: list[Client] = []


@pytest.fixture(autouse=True)
def connections():
    """Close every connection at the end of a test."""
    yield
    while _OPEN:
        _OPEN.pop().close()


def logged_in(server: Server, user: str, password: str) -> Client:
    client = server.client()
    _OPEN.append(client)
    assert client.call("AUTH", user, password) == "OK"
    return client


def test_a_change_at_one_node_holds_at_all_and_survives(make_cluster):
    """Also in sessions that are there, for commands that are forwarded, and for scripts on the leader."""
    cluster = make_cluster()
    cluster.start()
    one, two, three = cluster
    assert one.ask(*ROOT) == "OK"
    root = logged_in(two, "root", "a-long-password-for-root")
    assert root.call("ACL", "SETUSER", "app", "on", ">secret", "~app:*", "+@read", "+set", "+eval") == "OK"
    clients = [logged_in(server, "app", "secret") for server in cluster]
    for client in clients:
        assert client.call("SET", "app:1", "x") == "OK"
        assert client.call("GET", "other").prefix == "NOPERM"
        assert client.call("FLUSHALL").prefix == "NOPERM"
        script = client.call("EVAL", "return redis.call('GET', 'other')", "0")
        assert "The user executing the script can't access" in script
        assert client.call("READONLY").prefix == "NOPERM"
    assert root.call("ACL", "SETUSER", "app", "-set") == "OK"
    for client in clients:
        wait_until(partial(_refused, client, "SET", "app:1", "y"), "the new rule holds")
    assert root.call("ACL", "SETUSER", "default", "off") == "OK"
    for server in cluster:
        wait_until(partial(_closed_to_guests, server), "guests are refused")
    assert three.ask("HELLO", "3", "AUTH", "root", "wrong").prefix == "WRONGPASS"
    assert root.call("ACL", "DELUSER", "app") == 1
    for client in clients:
        wait_until(client.closed_by_server, "the sessions of a removed user end")
    [event] = [event for event in three.events("login_failed") if event["user"] == "root"][:1]
    assert event["outcome"] == "failed"
    for server in (one, two, three):
        server.kill()
    for server in cluster:
        server.start()
    with wait_until(lambda: _login(one, "root", "a-long-password-for-root"), "it knows root") as client:
        users = wait_until(lambda: _reply(client, "ACL", "USERS"), "it has a leader")
        assert users == [b"default", b"root"]
        assert int(client.call("KRAFT", "SNAPSHOT")) > 0


def _refused(client: Client, *words: str) -> bool:
    return isinstance(client.call(*words), Refusal)


def _reply(client: Client, *words: str):
    reply = client.call(*words)
    return None if isinstance(reply, Refusal) else reply


def test_the_users_of_a_file_are_in_force_from_the_first_moment(make_cluster, tmp_path):
    """A cluster that is to have users is never open, and keeps them when the file is gone."""
    file = tmp_path / "users.acl"
    file.write_text("user default off\nuser root on >pw ~* &* +@all\n")
    cluster = make_cluster(1, users={"file": str(file)})
    [server] = cluster
    server.start()
    first = wait_until(lambda: _first(server), "it answers")
    assert first.startswith("NOAUTH")
    root = wait_until(lambda: _login(server, "root", "pw"), "root may log in")
    wait_until(lambda: root.call("SET", "a", "1") == "OK", "it serves")
    wait_until(lambda: root.call("ACL", "SETUSER", "root", "+@all") == "OK", "users are stored")
    file.write_text("user default on nopass +@all ~*\n")  # only ACL LOAD reads it from now on
    server.kill()
    server.start()
    wait_until(lambda: str(_first(server)).startswith("NOAUTH"), "it is as closed as before")
    root = wait_until(lambda: _login(server, "root", "pw"), "root is there")
    assert wait_until(lambda: _reply(root, "ACL", "LOAD"), "a new file is loaded") == "OK"
    assert server.ask("GET", "a") == b"1"


def _closed_to_guests(server: Server) -> bool:
    return str(_first(server)).startswith("NOAUTH")


def _first(server: Server):
    try:
        return server.ask("GET", "a")
    except OSError:
        return None


def _login(server: Server, user: str, password: str) -> Client | None:
    try:
        client = server.client()
    except OSError:
        return None
    _OPEN.append(client)
    return client if client.call("AUTH", user, password) == "OK" else None


def test_a_file_with_an_error_ends_the_start_with_one_line(make_cluster, tmp_path):
    file = tmp_path / "users.acl"
    file.write_text("user root on +nosuch\n")
    cluster = make_cluster(1, users={"file": str(file)})
    [server] = cluster
    server.start()
    assert server.exit_status() == 1
    assert f"users.file: {file}:1: Error in applying operation '+nosuch'" in server.output


def test_a_node_that_is_cut_off_refuses_everybody_in_the_end(make_cluster):
    """A right that was taken away meanwhile is of no use there for longer than users.max_staleness."""
    cluster = make_cluster(users={"max_staleness": "3s"})
    cluster.start()
    follower = cluster.followers()[0]
    assert follower.ask(*ROOT) == "OK"
    with logged_in(follower, "root", "a-long-password-for-root") as client:
        assert client.call("PING") == "PONG"
        others = [server for server in cluster if server is not follower]
        for server in others:
            server.pause()
        answer = wait_until(lambda: _refusal(client.call("PING")), "it refuses")
        assert answer.prefix == "MASTERDOWN"
        for server in others:
            server.resume()
        wait_until(lambda: client.call("PING") == "PONG", "it hears a leader again")


def _refusal(answer: object) -> Refusal | None:
    return answer if isinstance(answer, Refusal) else None
