"""A right that was taken away is of no use to what began before: queues, waits, logins and connections."""

from collections.abc import Callable
from functools import partial

import pytest
from twisted.internet.defer import Deferred

from kraft.acl.user import User, encode_user
from kraft.config.values import UsersConfig
from kraft.kv.commands import ChangeUsers
from kraft.kv.users import users_revision
from tests.server.fakes import Port
from tests.server.users import NO_KEY, PLAIN, WRONG, Client, user

READ = ("EVAL", "return redis.call('GET', 'secret')", "0")
CHANGED = b"-EXECABORT Transaction discarded because of: NOPERM ACLs rules changed between the moment"


@pytest.fixture
def port() -> Port:
    return Port(users=PLAIN)


@pytest.fixture
def admin(port: Port) -> Client:
    client = Client(port)
    client.run("SET secret x")
    return client


@pytest.mark.parametrize("before", ["~* +@all -flushall", "~* +@all"])  # the second one is refused nothing
def test_a_script_in_a_queue_has_the_rights_of_its_execution(admin, before):
    client = user(admin, before)
    client.run("MULTI")
    assert client.words(*READ) == b"+QUEUED\r\n"
    client.words("FCALL", "f", "0")
    admin.run("ACL SETUSER u resetkeys ~other")
    assert b"can't access at least one of the keys" in client.run("EXEC")


def test_a_script_in_a_queue_has_rights_that_were_given_meanwhile(admin):
    client = user(admin, "~other +@all")
    client.run("MULTI")
    client.words(*READ)
    admin.run("ACL SETUSER u ~secret")
    assert client.run("EXEC") == b"*1\r\n$1\r\nx\r\n"


def test_a_token_does_not_tell_what_the_script_of_another_user_replied(admin):
    client = user(admin, "~other +@all")
    replies = []
    for each in (admin, client):
        each.run("MULTI")
        each.run("KRAFT ONCE t")
        each.words(*READ)
        replies.append(each.run("EXEC"))
    assert replies[0] == b"*2\r\n+OK\r\n$1\r\nx\r\n"
    assert replies[1].startswith(b"-ONCEREUSED")


def test_a_token_does_not_tell_what_a_command_replied_that_is_not_allowed_any_more(admin):
    client = user(admin, "~secret ~other +@all")
    for each in (admin, client):
        each.run("MULTI")
        each.run("SET secret y GET")
        each.run("SET other z GET")
    admin.run("KRAFT ONCE t EXEC")
    admin.run("ACL SETUSER u resetkeys ~other")
    assert client.run("KRAFT ONCE t EXEC").startswith(CHANGED)
    assert client.run("EXEC") == b"-ERR EXEC without MULTI\r\n"


def test_a_watched_key_does_not_tell_that_it_changes(admin):
    client = user(admin, "~secret ~other +@all")
    client.run("WATCH secret")
    client.run("MULTI")
    client.run("SET other 1")
    admin.run("ACL SETUSER u resetkeys ~other")
    assert client.run("EXEC").startswith(CHANGED)
    assert client.run("GET other") == b"$-1\r\n"
    assert b"secret" in admin.run("ACL LOG 1")


def waiting(port: Port, admin: Client, rules: str) -> Client:
    """A client of user `u` that waits for a lock which `admin` holds."""
    assert admin.run("KRAFT LOCK lock 100000").startswith(b":")
    client = user(admin, rules)
    client.talk.send(client.talk.encode("KRAFT", "LOCK", "lock", "100000", "WAIT", "60000"))
    port.settle()
    assert client.talk.read() == b""
    return client


@pytest.mark.parametrize("rule", ["-kraft|lock", "resetkeys", "off", "+get"])
def test_a_client_waits_for_a_lock_as_long_as_it_may_have_it(port, admin, rule):
    """Those that keep the right wait on: `off` ends no session, as in Redis."""
    client = waiting(port, admin, "~lock +kraft|lock +ping")
    admin.run(f"ACL SETUSER u {rule}")
    assert client.closed is (rule in ("-kraft|lock", "resetkeys"))
    assert port.observer.rejections["rights_revoked"] == client.closed


def test_nobody_waits_for_a_lock_on_a_node_that_knows_no_leader_for_long(port, admin):
    client = waiting(port, admin, "~lock +kraft|lock")
    port.host.users.age = 301.0
    port.clock.advance(302.0)
    port.settle()
    assert client.closed


def test_a_password_that_is_removed_while_it_is_compared_is_wrong():
    port = Port(users=UsersConfig())
    admin = Client(port)
    admin.run("ACL SETUSER u on >old >other")
    held: list[partial[None]] = []

    def hold(work: Callable[[], object]) -> Deferred[object]:
        fired: Deferred[object] = Deferred()
        held.append(partial(lambda: fired.callback(work())))
        return fired

    queue = port.factory.port.passwords
    queue.in_thread, direct = hold, queue.in_thread
    client = Client(port)
    assert client.run("AUTH u old") == b""
    queue.in_thread = direct
    assert admin.run("ACL SETUSER u <old") == b"+OK\r\n"
    held.pop()()
    assert client.run("PING") == WRONG + b"+PONG\r\n"
    assert client.run("ACL WHOAMI") == b"$7\r\ndefault\r\n"
    assert client.run("AUTH u other") == b"+OK\r\n"


def test_a_user_who_is_made_anew_is_another_one(port, admin):
    """A node that gets a snapshot sees the removal and the new user at once."""
    client = user(admin, "~* +@all")
    port.host.users.watcher, told = lambda _: None, port.host.users.watcher
    machine, now = port.host.machines[0], port.clock.wall_ms()
    seen = port.factory.port.users.revision
    machine.apply(now, [ChangeUsers(seen, (), (b"u",))])
    again = User(b"u", created=users_revision(machine.keyspace.ledger) + 1)
    machine.apply(now, [ChangeUsers(again.created - 1, ((b"u", encode_user(again)),))])
    assert not client.closed
    port.host.users.watcher = told
    port.host.look_at_users()
    assert client.closed
    assert not admin.closed


def test_a_user_who_is_changed_is_the_same_one(port, admin):
    client = user(admin, "~* +@all")
    created = port.factory.port.users.get(b"u").user.created
    assert created > 0
    admin.run("ACL SETUSER u reset on +get ~a")
    assert port.factory.port.users.get(b"u").user.created == created
    assert client.run("GET b") == NO_KEY
    admin.run("ACL DELUSER u")
    admin.run("ACL SETUSER u on")
    assert port.factory.port.users.get(b"u").user.created > created
