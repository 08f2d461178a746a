"""Users at the client port: who may do what, from the first request of a connection on."""

import pytest

from kraft.config.values import UsersConfig
from kraft.kv.commands import ChangeUsers
from kraft.kv.users import users_of
from kraft.node.errors import NoLeader
from kraft.server.acl_file import acl_file
from tests.server.fakes import Port
from tests.server.users import NO_AUTH, NO_COMMAND, NO_KEY, PLAIN, WRONG, Client, user


@pytest.fixture
def port() -> Port:
    return Port(users=PLAIN)


def test_without_users_everybody_may_do_everything(port, admin):
    assert admin.run("ACL WHOAMI") == b"$7\r\ndefault\r\n"
    assert admin.run("SET a 1") == b"+OK\r\n"
    assert admin.run("AUTH default whatever") == b"+OK\r\n"
    assert admin.run("AUTH nobody x") == WRONG
    assert admin.run("AUTH x").startswith(b"-ERR AUTH <password> called without any password configured")
    [session] = port.factory.port.sessions.values()
    assert session.state.rights is None  # so that no request costs more than that


def test_keys_and_commands_are_refused_that_were_not_given(admin):
    client = user(admin, "~app:* %R~shared:* +@read +set")
    table = [
        ("SET app:1 x", b"+OK\r\n"),
        ("GET app:1", b"$1\r\nx\r\n"),
        ("GET shared:1", b"$-1\r\n"),
        ("SET shared:1 x", NO_KEY),
        ("GET other", NO_KEY),
        ("MGET app:1 other", NO_KEY),
        ("DEL app:1", NO_COMMAND % b"del"),
        ("CONFIG GET port", NO_COMMAND % b"config|get"),
        ("NOSUCH x", b"-ERR unknown command 'NOSUCH', with args beginning with: 'x' \r\n"),
    ]
    for line, reply in table:
        assert client.run(line) == reply, line


def test_what_a_set_does_decides_which_right_it_needs(admin):
    client = user(admin, "%W~a +@all")
    assert client.run("SET a x") == b"+OK\r\n"
    assert client.run("SET a x GET") == NO_KEY
    assert client.run("SET a x IFEQ x") == NO_KEY
    assert client.run("GETDEL a") == NO_KEY
    assert client.run("DEL a") == b":1\r\n"


def test_a_new_rule_holds_for_sessions_that_are_there(admin):
    client = user(admin, "~* +get")
    assert client.run("GET a") == b"$-1\r\n"
    admin.run("ACL SETUSER u -get")
    assert client.run("GET a") == NO_COMMAND % b"get"
    admin.run("ACL SETUSER u +@all")
    assert client.run("SET a 1") == b"+OK\r\n"
    admin.run("ACL SETUSER u off")  # those who are in stay
    assert client.run("GET a") == b"$1\r\n1\r\n"
    assert Client(client.port).run("AUTH u pw") == WRONG


def test_a_removed_user_loses_its_connections(admin, port):
    client, own = user(admin, "~* +@all"), Client(port)
    own.run("AUTH u pw")
    assert own.run("ACL DELUSER u nobody u") == b":1\r\n"  # the reply comes before the end
    assert own.closed
    assert client.closed
    assert port.observer.rejections["user_removed"] == 1
    assert admin.run("ACL DELUSER default") == b"-ERR The 'default' user cannot be removed\r\n"
    assert admin.run("ACL DELUSER u") == b":0\r\n"
    assert admin.run("ACL USERS") == b"*1\r\n$7\r\ndefault\r\n"


def test_a_transaction_is_checked_when_it_is_queued_and_when_it_is_executed(admin):
    client = user(admin, "~a ~b +@all")
    assert client.run("MULTI") == b"+OK\r\n"
    assert client.run("SET c 1") == NO_KEY
    assert client.run("EXEC") == b"-EXECABORT Transaction discarded because of previous errors.\r\n"
    client.run("MULTI")
    client.run("SET a 1")
    client.run("SET b 1")
    admin.run("ACL SETUSER u resetkeys ~b")
    replies = client.run("EXEC")
    assert replies.startswith(b"*2\r\n-NOPERM ACLs rules changed between the moment the transaction was")
    assert replies.endswith(b"no permission to touch the specified keys\r\n+OK\r\n")
    assert admin.run("MGET a b") == b"*2\r\n$-1\r\n$1\r\n1\r\n"


def test_multi_and_its_queue_in_one_packet_are_checked(admin):
    client = user(admin, "~a +set +exec")
    packet = client.talk.encode("MULTI") + client.talk.encode("SET", "a", "1") + client.talk.encode("EXEC")
    replies = client.talk.ask(packet)
    assert replies.startswith(NO_COMMAND % b"multi" + b"+OK\r\n-ERR EXEC without MULTI\r\n")


SCRIPTS = [
    ("return redis.call('GET', 'other')", b"can't access at least one of the keys mentioned"),
    (
        "return redis.call('SET', KEYS[1], 'x') and redis.call('APPEND', 'other', 'x')",
        b"can't access at least",
    ),
    ("return redis.call('FLUSHALL')", b"can't run this command or subcommand"),
    ("return redis.pcall('DBSIZE')", b"can't run this command or subcommand"),
]


@pytest.mark.parametrize(("script", "error"), SCRIPTS)
def test_a_script_has_the_rights_of_its_caller(admin, script, error):
    client = user(admin, "~app:* +@all -@dangerous -dbsize")
    reply = client.words("EVAL", script, "1", "app:1")
    assert reply.startswith(b"-ERR The user executing the script ")
    assert error in reply
    assert admin.run("EXISTS app:1 other") == b":0\r\n"
    assert client.words("EVAL", "return redis.call('SET', KEYS[1], 'x')", "1", "app:1") == b"+OK\r\n"
    assert client.words("EVAL", "return 1", "1", "other") == NO_KEY
    client.run("MULTI")
    client.words("EVAL", script, "1", "app:1")
    assert error in client.run("EXEC")
    assert b"lua" in admin.run("ACL LOG")


def test_a_function_has_the_rights_of_its_caller_not_of_its_author(admin):
    library = (
        "#!lua name=l\nredis.register_function('read', function(k, a) return redis.call('GET', a[1]) end)"
    )
    assert admin.words("FUNCTION", "LOAD", library) == b"$1\r\nl\r\n"
    admin.run("SET other secret")
    client = user(admin, "~app:* +fcall +get")
    assert b"can't access at least one" in client.run("FCALL read 0 other")
    assert client.run("FCALL read 0 app:1") == b"$-1\r\n"
    assert client.words("FUNCTION", "LOAD", library) == NO_COMMAND % b"function|load"


def test_a_token_of_another_user_does_not_tell_what_a_script_replied(admin):
    admin.run("SET secret x")
    client = user(admin, "~app:* +@all")
    script = ("EVAL", "return redis.call('GET', 'secret')", "0")
    assert admin.words("KRAFT", "ONCE", "t", *script) == b"$1\r\nx\r\n"
    assert client.words("KRAFT", "ONCE", "t", *script).startswith(b"-ONCEREUSED")


@pytest.mark.parametrize(
    ("rules", "line", "reply"),
    [
        ("~a +kraft|once", "KRAFT ONCE t SET a 1", NO_COMMAND % b"set"),
        ("~a +set", "KRAFT ONCE t SET a 1", NO_COMMAND % b"kraft|once"),
        ("~a +set +kraft|once", "KRAFT ONCE t SET b 1", NO_KEY),
        ("~a +set +kraft|once", "KRAFT ONCE t SET a 1", b"+OK\r\n"),
        ("~a +set +kraft|guard", "KRAFT GUARD lock 1 SET a 1", NO_KEY),
        ("~a %W~lock +set +kraft|guard", "KRAFT GUARD lock 1 SET a 1", NO_KEY),
        ("~a ~lock +set +kraft|guard", "KRAFT GUARD lock 1 SET b 1", NO_KEY),
        ("~a ~lock +kraft|guard +kraft|once", "KRAFT ONCE t KRAFT GUARD lock 1 SET a 1", NO_COMMAND % b"set"),
        ("~a ~lock +set +kraft|once", "KRAFT ONCE t KRAFT GUARD lock 1 SET a 1", NO_COMMAND % b"kraft|guard"),
        ("%R~lock +kraft|lock", "KRAFT LOCK lock 1000", NO_KEY),
        ("%R~lock +kraft|lock", "KRAFT LOCK lock 1000 WAIT 5", NO_KEY),
        ("~lock +kraft|lock", "KRAFT LOCK lock 1000", b":2\r\n"),
        ("~* +@kraft", "KRAFT REMOVE K2", NO_COMMAND % b"kraft|remove"),
        ("~* +@kraft", "raft-remove-node K2", NO_COMMAND % b"raft-remove-node"),
        ("~* +@admin", "KRAFT REMOVE K2", b"+OK\r\n"),
        ("~app:* +kraft|range", "KRAFT RANGE PREFIX app:x", b"*2\r\n$-1\r\n*0\r\n"),
        ("~app:* +kraft|range", "KRAFT RANGE app:a app:b", b"*2\r\n$-1\r\n*0\r\n"),
        ("~app:* +kraft|range", "KRAFT RANGE app: app;", b"*2\r\n$-1\r\n*0\r\n"),
        ("~app:* +kraft|range", "KRAFT RANGE app: app< KEYSONLY", NO_KEY),
        ("~app:* +kraft|range", "KRAFT RANGE PREFIX ap", NO_KEY),
        ("~app:* +kraft|range", "KRAFT RANGE an app:z", NO_KEY),
        ("~app:*x* +kraft|range", "KRAFT RANGE PREFIX app:", NO_KEY),
        ("%W~app:* +kraft|range", "KRAFT RANGE PREFIX app:", NO_KEY),
    ],
)
def test_kraft_commands(admin, rules, line, reply):
    assert user(admin, rules).run(line) == reply


def test_a_selector_is_a_second_chance_for_the_whole_command(admin):
    client = user(admin, "+get ~a", "(+set", "~b)")
    assert client.run("GET a") == b"$-1\r\n"
    assert client.run("SET b 1") == b"+OK\r\n"
    assert client.run("SET a 1") == NO_KEY
    assert client.run("GET b") == NO_KEY


def test_one_first_argument_of_a_command(admin):
    client = user(admin, "+select|0 -@all +select|0")
    assert client.run("SELECT 0") == b"+OK\r\n"
    assert client.run("SELECT 1") == NO_COMMAND % b"select"


def test_the_log_of_what_was_refused(admin, port):
    client = user(admin, "~a +get")
    client.run("GET b")
    client.run("GET b")
    client.run("SET a 1")
    client.run("AUTH u no")
    log = admin.run("ACL LOG")
    assert log.count(b"client-info") == 3
    assert b"$6\r\nreason\r\n$4\r\nauth\r\n" in log
    assert b"$6\r\nobject\r\n$4\r\nAUTH\r\n" in log  # as the client wrote it
    assert b":2\r\n$6\r\nreason\r\n$3\r\nkey\r\n" in log
    assert admin.run("ACL LOG 1").count(b"client-info") == 1
    assert port.observer.denials == {"key": 2, "command": 1, "auth": 1}
    assert port.observer.logins == [("done", "127.0.0.1:50000", "u"), ("failed", "127.0.0.1:50000", "u")]
    assert admin.run("ACL LOG RESET") == b"+OK\r\n"
    assert admin.run("ACL LOG") == b"*0\r\n"
    for n in range(200):
        client.run(f"GET b{n}")
    assert admin.run("ACL LOG 1000").count(b"client-info") == 128


def test_client_list_and_kill_know_users(admin, port):
    client = user(admin, "~* +@all")
    assert admin.run("CLIENT LIST").count(b"user=u ") == 1
    assert admin.run("CLIENT KILL USER u") == b":1\r\n"
    assert client.closed
    assert admin.run("CLIENT KILL USER nobody") == b"-ERR No such user 'nobody'\r\n"


OTHERS = (
    "CLIENT LIST",
    "CLIENT LIST ID 1",
    "CLIENT KILL ID 1",
    "CLIENT KILL USER default",
    "CLIENT KILL TYPE normal SKIPME no",
    "ACL LIST",
    "ACL LOG",
    "ACL GETUSER default",
    "KRAFT DRAIN ON",
    "KRAFT IMAGE OPEN",
)


WAYS = {
    "alone": lambda words: words,
    "a script": lambda words: f'EVAL "return redis.call(unpack(ARGV))" 0 {words}',
    "a function": lambda words: f"FCALL f 0 {words}",
    "a token": lambda words: f"KRAFT ONCE t {words}",
    "a script with a token": lambda words: f"KRAFT ONCE t FCALL f 0 {words}",
}


@pytest.mark.parametrize("words", OTHERS)
@pytest.mark.parametrize("way", WAYS)
def test_who_is_no_administrator_learns_nothing_of_others_and_ends_none(admin, port, words, way):
    """In no way, within a transaction or not."""
    library = "#!lua name=l\\nredis.register_function('f', function(k, a) return redis.call(unpack(a)) end)"
    admin.run(f'FUNCTION LOAD "{library}"')
    client = user(admin, "~* +@all -@admin -@dangerous")
    before = admin.run("ACL LIST")
    assert client.run(WAYS[way](words)).startswith(b"-")
    assert client.run("MULTI") == b"+OK\r\n"
    queued = client.run(WAYS[way](words))
    executed = client.run("EXEC")
    assert queued.startswith(b"-") or executed.startswith(b"*1\r\n-")
    assert not admin.closed
    assert not client.closed
    assert admin.run("ACL LIST") == before


ABSENT = ("MONITOR", "SUBSCRIBE c", "PSUBSCRIBE *", "PUBLISH c m", "SYNC", "PSYNC ? -1")


@pytest.mark.parametrize("words", ABSENT)
def test_what_kraft_has_not_shows_nobody_what_others_do(admin, words):
    assert admin.run(words).startswith(b"-ERR unknown command")


def test_dryrun_says_what_is_missing_and_does_nothing(admin):
    user(admin, "~a +get +kraft|once")
    assert admin.run("ACL DRYRUN u GET a") == b"+OK\r\n"
    assert b"'b' key" in admin.run("ACL DRYRUN u GET b")
    assert b"'set' command" in admin.run("ACL DRYRUN u SET a 1")
    assert b"'set' command" in admin.run("ACL DRYRUN u KRAFT ONCE t SET a 1")
    assert admin.run("ACL DRYRUN u GET") == b"-ERR wrong number of arguments for 'get' command\r\n"
    assert admin.run("ACL DRYRUN nobody GET a") == b"-ERR User 'nobody' not found\r\n"
    assert admin.run("ACL DRYRUN u NOSUCH a") == b"-ERR Command 'NOSUCH' not found\r\n"
    assert admin.run("EXISTS a") == b":0\r\n"


def test_users_are_stored_by_one_command_and_in_the_state(admin, port):
    before = len(port.host.writes)
    admin.run("ACL SETUSER a on nopass")
    admin.run("ACL SETUSER b on nopass")
    changes = [command for _, commands in port.host.writes[before:] for command in commands]
    assert [(type(each), each.seen) for each in changes] == [(ChangeUsers, 0), (ChangeUsers, 1)]
    assert set(users_of(port.host.machines[0].keyspace.ledger)) == {b"a", b"b"}


def test_a_change_that_another_one_overtakes_is_computed_again(admin, port):
    """Both take effect, whatever the order: neither resets what the other has set."""
    first, second = Client(port), Client(port)
    first.talk.send(first.talk.encode("ACL", "SETUSER", "u", "+get"))
    second.talk.send(second.talk.encode("ACL", "SETUSER", "u", "+set"))
    port.settle()
    assert first.talk.read() == second.talk.read() == b"+OK\r\n"
    assert b"-@all +get +set" in admin.run("ACL GETUSER u")


def test_what_the_host_cannot_do_is_an_error(admin, port):
    port.host.failing = NoLeader(0)
    assert admin.run("ACL SETUSER u on").startswith(b"-CLUSTERDOWN")
    assert admin.run("ACL LIST").startswith(b"-CLUSTERDOWN")
    port.host.failing = None
    port.host.machines[0].version = 3
    assert b"machine version 4" in admin.run("ACL SETUSER u on")
    assert admin.run("ACL USERS") == b"*1\r\n$7\r\ndefault\r\n"


def test_the_first_users_are_in_force_before_they_are_stored(tmp_path):
    port = Port(users=PLAIN)
    port.host.machines[0].version = 3  # of a cluster that has just formed
    users = port.factory.port.users
    file = tmp_path / "users.acl"
    file.write_text("user default off\nuser root on >pw ~* &* +@all\n")
    users.found(acl_file(str(file), users.catalog, PLAIN).read())
    client = Client(port)
    assert client.run("GET a") == NO_AUTH
    assert users.revision == 0
    port.host.machines[0].version = 4
    port.clock.advance(1.0)
    port.settle()
    assert users.revision == 1
    assert client.run("AUTH root pw") == b"+OK\r\n"
    assert client.run("ACL SETUSER default on nopass ~* +@all") == b"+OK\r\n"
    users.found({})
    assert client.run("ACL USERS") == b"*2\r\n$7\r\ndefault\r\n$4\r\nroot\r\n"


def test_save_and_load(tmp_path):
    file = tmp_path / "users.acl"
    port = Port(users=UsersConfig(file=str(file), slow_hash=False))
    admin = Client(port)
    client = user(admin, "~a +get")
    assert admin.run("ACL SAVE") == b"+OK\r\n"
    saved = file.read_text()
    assert saved.startswith("user default on nopass ~* &* +@all\nuser u on #")
    file.write_text(saved.replace("+get", "+set") + "user v on nopass\n")
    assert admin.run("ACL LOAD") == b"+OK\r\n"
    assert client.run("GET a") == NO_COMMAND % b"get"
    assert admin.run("ACL USERS") == b"*3\r\n$7\r\ndefault\r\n$1\r\nu\r\n$1\r\nv\r\n"
    file.write_text("user v on nopass\nuser x +nosuch\nuser v on\nbad line\nuser w ~a ~* ~b\n")
    refused = admin.run("ACL LOAD").decode()
    assert f"{file}:2: Error in applying operation '+nosuch': Unknown command" in refused
    assert "Duplicate user 'v' found on line 3" in refused
    assert f"{file}:4 should start with user keyword" in refused
    assert f"{file}:5: Adding a pattern after the * pattern" in refused
    assert refused.endswith("no change to the previously active ACL rules was performed\r\n")
    assert admin.run("ACL USERS").startswith(b"*3\r\n")
    file.unlink()
    assert admin.run("ACL LOAD").startswith(b"-ERR Error loading ACLs, opening file")
    file.write_text("user v on nopass\n")
    assert admin.run("ACL LOAD") == b"+OK\r\n"
    assert client.closed  # its user is gone


def test_without_a_file_nothing_is_saved_or_loaded(admin):
    for word in ("SAVE", "LOAD"):
        assert admin.run(f"ACL {word}").startswith(b"-ERR This Redis instance is not configured")


def test_genpass_and_cat(admin):
    assert len(admin.run("ACL GENPASS").split(b"\r\n")[1]) == 64
    assert len(admin.run("ACL GENPASS 5").split(b"\r\n")[1]) == 2
    for bits in ("0", "4097", "x"):
        assert admin.run(f"ACL GENPASS {bits}").startswith(b"-ERR ")
    assert b"$8\r\nkeyspace\r\n" in admin.run("ACL CAT")
    assert b"kraft|remove" in admin.run("ACL CAT admin")
    for line in ("CAT a b", "GENPASS 1 2", "LOG 1 2"):
        assert admin.run(f"ACL {line}").startswith(b"-ERR unknown subcommand or wrong number of arguments")
    assert admin.run("ACL CAT nosuch") == b"-ERR Unknown category 'nosuch'\r\n"
