"""Logins at the client port: guests, passwords and how long they take, and nodes without a leader."""

import pytest
from twisted.internet.defer import Deferred

from kraft.acl.passwords import Passwords
from kraft.acl.rules import changed
from kraft.acl.user import User, encode_user
from kraft.config.values import UsersConfig
from kraft.kv.commands import ChangeUsers
from kraft.node.errors import NoLeader
from kraft.server.commands import login
from tests.server.fakes import Port
from tests.server.users import NO_AUTH, PLAIN, WRONG, Client, user


@pytest.fixture
def port() -> Port:
    return Port(users=PLAIN)


def test_a_connection_begins_as_a_guest_once_the_default_user_has_a_password(admin, port):
    assert admin.run("ACL SETUSER default >secret") == b"+OK\r\n"
    assert admin.run("PING") == b"+PONG\r\n"  # it was there before
    guest = Client(port)
    for line in ("GET a", "PING", "ACL WHOAMI", "MULTI", "KRAFT STATUS", "KRAFT ONCE t SET a 1", "EVAL x 0"):
        assert guest.run(line) == NO_AUTH, line
    assert (
        guest.run("EXEC")
        == b"-EXECABORT Transaction discarded because of: NOAUTH Authentication required.\r\n"
    )
    assert guest.run("HELLO 3").startswith(
        b"-NOAUTH HELLO must be called with the client already authenticated"
    )
    assert guest.run("AUTH wrong") == WRONG
    assert guest.run("AUTH secret") == b"+OK\r\n"
    assert guest.run("GET a") == b"$-1\r\n"
    assert guest.run("RESET") == b"+RESET\r\n"
    assert guest.run("GET a") == NO_AUTH
    assert guest.run("QUIT") == b"+OK\r\n"


def test_hello_logs_in_and_chooses_the_protocol(admin, port):
    client = user(admin, "+hello +acl|whoami")
    other = Client(port)
    assert other.run("HELLO 3 AUTH u no") == WRONG
    assert other.run("ACL WHOAMI") == b"$7\r\ndefault\r\n"
    assert other.run("HELLO 3 SETNAME me AUTH u pw").startswith(b"%7\r\n")
    assert other.run("ACL WHOAMI") == b"$1\r\nu\r\n"
    assert client.run("HELLO 4 AUTH u pw") == b"-NOPROTO unsupported protocol version\r\n"
    assert port.observer.open["resp3"] == 1


def test_without_a_leader_a_login_rests_on_what_the_node_knows(admin, port):
    user(admin, "~* +@all")
    port.host.failing = NoLeader(0)
    other = Client(port)
    assert other.run("AUTH u pw") == b"+OK\r\n"
    assert other.run("AUTH u no") == WRONG


def test_a_node_that_knows_no_leader_for_long_refuses_everybody(admin, port):
    client = user(admin, "~* +@all")
    port.host.users.age = 301.0
    port.clock.advance(1.0)
    assert client.run("PING") == b"+PONG\r\n"  # it has just started
    port.clock.advance(300.0)
    for each in (client, admin, Client(port)):
        assert each.run("PING").startswith(b"-MASTERDOWN this node has heard of no leader for longer")
    assert client.run("AUTH u pw").startswith(b"-MASTERDOWN")
    port.host.users.age = 0.1
    port.clock.advance(1.0)
    assert client.run("PING") == b"+PONG\r\n"


@pytest.mark.parametrize("name", ["u", "nobody", "default"])
def test_the_time_of_a_wrong_password_does_not_tell_whether_there_is_such_a_user(name, monkeypatch):
    """The reply comes after a fixed time, and as many slow comparisons are made."""
    port = Port(users=UsersConfig())
    admin = Client(port)
    admin.run("ACL SETUSER u on >pw")
    admin.run("ACL SETUSER default >pw")
    slow: list[str] = []

    def compared(*_: bytes) -> bool:
        slow.append("")
        return False

    monkeypatch.setattr(login, "matches", compared)
    monkeypatch.setattr(login, "waste_time", compared)
    client = Client(port)
    client.talk.run("AUTH", name, "wrong")
    for _ in range(24):
        assert client.talk.read() == b""
        port.clock.advance(0.01)
    port.clock.advance(0.02)
    assert client.talk.read() == WRONG
    assert len(slow) == 1


def test_a_right_password_is_compared_slowly_once(monkeypatch):
    port = Port(users=UsersConfig())
    client = user(Client(port), "+ping")
    monkeypatch.setattr(login, "matches", lambda *_: pytest.fail("a second slow comparison"))
    assert client.run("AUTH u pw") == b"+OK\r\n"
    monkeypatch.undo()
    assert client.run("AUTH u px") == WRONG


def test_a_flood_of_logins_takes_few_places_and_leaves_some_to_others():
    port = Port(users=UsersConfig())
    Client(port).run("ACL SETUSER u on >pw")
    held: list[Deferred[object]] = []
    queue = port.factory.port.passwords

    def hold(_: object) -> Deferred[object]:
        held.append(Deferred())
        return held[-1]

    queue.in_thread = hold
    clients = [port.connect() for _ in range(20)]
    assert [client.run("AUTH", "u", "no") for client in clients] == [b""] * 20  # nobody may ask at once again
    port.clock.advance(0.25)
    replies = [client.read() for client in clients]
    assert (
        replies.count(b"-ERR too many logins wait for a comparison of their passwords, try again later\r\n")
        == 12
    )
    assert len(held) == 1
    assert [outcome for outcome, *_ in port.observer.logins if outcome == "busy"] == ["busy"] * 12
    assert queue.add("10.0.0.9", lambda: True, lambda _: None)


def test_a_password_has_a_length_that_can_be_hashed_in_no_time(admin):
    client = user(admin, "+ping")
    longest = "p" * 16384
    assert admin.run(f"ACL SETUSER u >{longest}") == b"+OK\r\n"
    assert b"a password exceeds limit of 16384 bytes" in admin.run(f"ACL SETUSER u >{longest}p")
    assert client.run(f"AUTH u {longest}") == b"+OK\r\n"
    assert client.run(f"AUTH u {longest}p") == WRONG


def test_the_first_user_may_log_in_at_a_node_that_has_not_heard_of_users(port):
    """A read shows the node what was acknowledged elsewhere, before it compares."""
    host = port.host
    host.users.watcher, told = lambda _: None, host.users.watcher
    root = changed(User(b"root"), [b"on", b">pw"], port.factory.port.users.catalog, Passwords())
    host.machines[0].apply(port.clock.wall_ms(), [ChangeUsers(0, ((b"root", encode_user(root)),))])
    client = Client(port)
    client.talk.send(client.talk.encode("AUTH", "root", "pw"))
    port.clock.advance(0)
    host.users.watcher = told
    host.look_at_users()
    port.settle()
    assert client.talk.read() == b"+OK\r\n"
