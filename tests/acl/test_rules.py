"""Rules of users: what each of them changes, and what is shown of it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.acl.catalog import CATEGORIES, Catalog
from kraft.acl.description import line_of
from kraft.acl.errors import RuleError
from kraft.acl.passwords import Passwords, digest, is_slow, matches
from kraft.acl.rules import changed
from kraft.acl.user import DEFAULT, User, decode_user, encode_user

CATALOG = Catalog(
    {
        "get": ("read", "string", "fast"),
        "set": ("write", "string", "slow"),
        "select": ("connection", "fast"),
        "config": ("slow",),
        "config|get": ("admin", "dangerous", "slow"),
        "config|set": ("admin", "dangerous", "slow"),
    }
)
FAST = Passwords()
SALT = bytes(range(16))


def user(*rules: bytes | str, of: User | None = None, passwords: Passwords = FAST) -> User:
    words = [rule.encode() if isinstance(rule, str) else rule for rule in rules]
    return changed(of or User(b"u"), words, CATALOG, passwords)


def line(*rules: bytes | str) -> str:
    return line_of(user(*rules)).decode()


@pytest.mark.parametrize(
    ("rules", "shown"),
    [
        ([], "user u off resetchannels -@all"),
        (["on", "nopass"], "user u on nopass resetchannels -@all"),
        (["reset"], "user u off sanitize-payload resetchannels -@all"),
        (["on", "skip-sanitize-payload", "OFF"], "user u off skip-sanitize-payload resetchannels -@all"),
        (["~a*", "~b", "%R~c", "%w~d"], "user u off ~a* ~b %R~c %W~d resetchannels -@all"),
        (["%R~a", "%W~a", "~b", "%R~b"], "user u off ~a ~b resetchannels -@all"),
        (["%rw~a", "%WR~b"], "user u off ~a ~b resetchannels -@all"),
        (["~a", "allkeys"], "user u off ~* resetchannels -@all"),
        (["allkeys", "resetkeys", "~a", "~a"], "user u off ~a resetchannels -@all"),
        (["&a", "&b", "&a"], "user u off resetchannels &a &b -@all"),
        (["allchannels"], "user u off &* -@all"),
        (["+@all"], "user u off resetchannels +@all"),
        (["+get", "+@READ", "-GET"], "user u off resetchannels -@all +@read -get"),
        (["+get", "-get", "+get"], "user u off resetchannels -@all +get"),
        (["+config|get", "+config"], "user u off resetchannels -@all +config"),
        (["+config", "-config|set"], "user u off resetchannels -@all +config -config|set"),
        (["+get", "+@all", "-set"], "user u off resetchannels +@all -set"),
        (["+select|0", "+select|1"], "user u off resetchannels -@all +select|0 +select|1"),
        (["(+get ~a)", "(%R~b", "+set)"],
         "user u off resetchannels -@all (~a resetchannels -@all +get) (%R~b resetchannels -@all +set)"),
        (["(+get ~a)", "clearselectors"], "user u off resetchannels -@all"),
        (["", "on"], "user u on resetchannels -@all"),
    ],
)  # fmt: skip
def test_a_rule_shows(rules, shown):
    assert line(*rules) == shown


@pytest.mark.parametrize(
    ("rules", "error"),
    [
        (["+nosuch"], "'+nosuch': Unknown command or category name in ACL"),
        (["+@nosuch"], "'+@nosuch': Unknown command or category name in ACL"),
        (["-select|0"], "'-select|0': Unknown command or category name in ACL"),
        (["+config|nosuch"], "'+config|nosuch': Unknown command or category name in ACL"),
        (["+config|get|x"], "'+config|get|x': Allowing first-arg of a subcommand is not supported"),
        (["+select|"], "'+select|': Syntax error"),
        (["allkeys", "~a"], "'~a': Adding a pattern after the * pattern"),
        (["allchannels", "&a"], "'&a': Adding a pattern after the * pattern"),
        (["%X~a"], "'%X~a': Syntax error"),
        (["%~a"], "'%~a': Syntax error"),
        (["%R"], "'%R': Syntax error"),
        (["~a b"], "'~a b': Syntax error"),
        (["#abc"], "'#abc': The password hash must be exactly 64 characters"),
        (["$scrypt$ln=30,r=8,p=1$x$y"], "Syntax error"),
        (["<x"], "'<x': The password you are trying to remove from the user does not exist"),
        (["!" + "a" * 64], "The password you are trying to remove from the user does not exist"),
        (["nosuch"], "'nosuch': Syntax error"),
        (["(+get", "~a"], "Unmatched parenthesis in acl selector starting at '(+get'."),
        (["(on)"], "'(on)': Syntax error"),
        (["~" + "a" * 1025], "a pattern exceeds limit of 1024 bytes"),
    ],
)
def test_a_wrong_rule_is_refused_and_changes_nothing(rules, error):
    with pytest.raises(RuleError) as caught:
        user("on", *rules)
    assert error in str(caught.value)


def test_passwords_are_added_and_removed_by_text_and_by_hash():
    hashed = digest(b"one")
    with_two = user(">one", ">two", b"#" + hashed)
    assert with_two.passwords == (hashed, digest(b"two"))
    assert user("<two", of=with_two).passwords == (hashed,)
    assert user(b"!" + hashed, of=with_two).passwords == (digest(b"two"),)
    assert user("nopass", of=with_two).passwords == ()
    assert not user(">x", of=user("nopass")).nopass
    assert user("resetpass", of=with_two) == user()


def test_a_password_that_people_choose_is_stored_slowly_and_once():
    slow = Passwords(lambda: SALT)
    alice = user(">secret", passwords=slow)
    [stored] = alice.passwords
    assert is_slow(stored)
    assert matches(stored, b"secret")
    assert not matches(stored, b"Secret")
    assert user(">secret", of=alice, passwords=slow) == alice
    assert user(stored) == alice  # as ACL LIST shows it, so an ACL file may have it
    assert user("<secret", of=alice, passwords=slow).passwords == ()
    assert user(b"!" + stored, of=alice).passwords == ()


def test_a_random_password_is_stored_as_in_redis():
    random = "0123456789abcdef" * 4
    assert user(f">{random}", passwords=Passwords(lambda: SALT)).passwords == (digest(random.encode()),)


def test_binary_passwords_are_kept_whole():
    assert user(b">a\x00b").passwords == (digest(b"a\x00b"),)


def test_what_selectors_allow():
    names, arguments = CATALOG.allowed(user("+@all", "-@dangerous").selectors[0])
    assert names == {"get", "set", "select", "config"}
    names, _ = CATALOG.allowed(user("+config", "-config|set").selectors[0])
    assert names == {"config", "config|get"}
    names, _ = CATALOG.allowed(user("+@slow").selectors[0])
    assert names == {"set", "config", "config|get", "config|set"}
    names, arguments = CATALOG.allowed(user("+select|0", "+get").selectors[0])
    assert names == {"get"}
    assert arguments == {"select": frozenset([b"0"])}
    _, arguments = CATALOG.allowed(user("+select|0", "-select").selectors[0])
    assert arguments == {}


def test_only_a_user_with_everything_is_unrestricted():
    assert DEFAULT.unrestricted
    assert user("+@all", "~*").unrestricted
    assert not user("+@all", "~a*").unrestricted
    assert not user("+@all", "-get", "~*").unrestricted
    assert not user("(+@all ~*)").unrestricted


WORDS = st.sampled_from(
    [
        "on", "off", "nopass", "resetpass", "reset", "sanitize-payload", "allkeys", "resetkeys", "~a", "~b*",
        "%R~a", "%W~b*", "%RW~c", "&x", "allchannels", "resetchannels", "+@all", "-@all", "+get", "-get",
        "+set", "+config", "-config", "+config|get", "-config|set", "+select|0", "+@read", "-@read", "+@slow",
        "-@slow", "+@dangerous", "(~a +get)", "(+@all ~b)", "clearselectors", ">p", ">q", "<p",
    ]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(WORDS, max_size=12))
def test_a_line_makes_the_same_user_again(words):
    """What ACL LIST shows is what ACL SETUSER and an ACL file take."""
    made = User(b"u")
    for word in words:
        try:
            made = user(word, of=made)
        except RuleError:
            continue
    _, name, *rules = line_of(made).split(b" ")
    again = user(*rules, of=User(name))
    assert again == made
    assert decode_user(encode_user(made)) == made
    for selector, copy in zip(made.selectors, again.selectors, strict=True):
        assert CATALOG.allowed(selector) == CATALOG.allowed(copy)


def test_categories_are_those_of_redis_and_one_more():
    assert CATEGORIES[:-1] == (
        "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog",
        "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection",
        "transaction", "scripting",
    )  # fmt: skip


def test_a_program_reads_users_of_the_one_before_and_of_the_one_after():
    """What `created` is to this program, a further field is to it."""
    stored = msgspec.msgpack.decode(encode_user(User(b"u", on=True, created=7)))
    assert decode_user(msgspec.msgpack.encode(stored[:-1])) == User(b"u", on=True)
    assert decode_user(msgspec.msgpack.encode([*stored, "new"])) == User(b"u", on=True, created=7)
