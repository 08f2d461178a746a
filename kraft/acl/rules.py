"""Rules of ACL SETUSER and of lines of an ACL file: what they make of a user.

The order and the errors are those of Redis 7.0 (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/).
Only the rules on commands are kept as Redis 7.2 keeps them, in their order, because a later rule then undoes
no more than it names.
"""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from kraft.acl.catalog import Catalog, is_category
from kraft.acl.errors import RuleError
from kraft.acl.passwords import PASSWORD_BYTES_MAX, Passwords, digest, is_digest, is_slow, matches
from kraft.acl.user import READ, READ_WRITE, WRITE, KeyPattern, Sanitize, Selector, User

UNKNOWN = "Unknown command or category name in ACL"
SYNTAX = "Syntax error"
KEYS_AFTER_ALL = (
    "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. "
    "Try 'resetkeys' to start with an empty list of patterns"
)
CHANNELS_AFTER_ALL = (
    "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any "
    "effect. Try 'resetchannels' to start with an empty list of channels"
)
NO_SUCH_PASSWORD = "The password you are trying to remove from the user does not exist"  # noqa: S105
BAD_HASH = "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
ARGUMENT_OF_SUBCOMMAND = "Allowing first-arg of a subcommand is not supported"
PATTERN_BYTES_MAX = 1024  # as of KEYS: one comparison must stay short
PASSWORD_TOO_LONG = f"a password exceeds limit of {PASSWORD_BYTES_MAX} bytes"
PATTERN_TOO_LONG = f"a pattern exceeds limit of {PATTERN_BYTES_MAX} bytes"


def changed(user: User, rules: Sequence[bytes], catalog: Catalog, passwords: Passwords) -> User:
    """The user after the rules, all of them or none. Raises RuleError with a whole sentence."""
    for rule in joined(rules):
        try:
            user = with_rule(user, rule, catalog, passwords)
        except RuleError as error:
            shown = rule.partition(b"\0")[0].decode("utf-8", "surrogateescape")
            raise RuleError(f"Error in ACL SETUSER modifier '{shown}': {error}") from None
    return user


def joined(words: Sequence[bytes]) -> list[bytes]:
    """The rules in `words`: a selector may be spread over several of them. Raises RuleError."""
    rules: list[bytes] = []
    opened: list[bytes] = []
    for word in words:
        if word[:1] == b"(" and word[-1:] != b")":
            opened = [word]
        elif opened:
            opened.append(word)
            if word[-1:] == b")":
                rules.append(b" ".join(opened))
                opened = []
        else:
            rules.append(word)
    if opened:
        shown = opened[0].decode("utf-8", "surrogateescape")
        raise RuleError(f"Unmatched parenthesis in acl selector starting at '{shown}'.")
    return rules


def with_rule(user: User, rule: bytes, catalog: Catalog, passwords: Passwords) -> User:
    """The user after one rule. Raises RuleError."""
    word = rule.lower()
    if not rule:
        return user
    if word in _PLAIN:
        return _PLAIN[word](user)
    kind = rule[:1]
    if kind in (b">", b"#", b"$"):
        return _with_password(user, rule, passwords)
    if kind in (b"<", b"!"):
        return _without_password(user, rule)
    if kind == b"(" and rule[-1:] == b")":
        selector = Selector()
        for inner in rule[1:-1].split():
            selector = _selected(selector, inner, catalog)
        return replace(user, selectors=(*user.selectors, selector))
    root, *others = user.selectors
    return replace(user, selectors=(_selected(root, rule, catalog), *others))


def _reset(user: User) -> User:
    return User(user.name, sanitize=Sanitize.CHECK)


_PLAIN: dict[bytes, Callable[[User], User]] = {
    b"on": lambda user: replace(user, on=True),
    b"off": lambda user: replace(user, on=False),
    b"skip-sanitize-payload": lambda user: replace(user, sanitize=Sanitize.SKIP),
    b"sanitize-payload": lambda user: replace(user, sanitize=Sanitize.CHECK),
    b"nopass": lambda user: replace(user, nopass=True, passwords=()),
    b"resetpass": lambda user: replace(user, nopass=False, passwords=()),
    b"clearselectors": lambda user: replace(user, selectors=user.selectors[:1]),
    b"reset": _reset,
}


def _with_password(user: User, rule: bytes, passwords: Passwords) -> User:
    kind, word = rule[:1], rule[1:]
    if kind == b">":
        if len(word) > PASSWORD_BYTES_MAX:
            raise RuleError(PASSWORD_TOO_LONG)
        if any(matches(each, word) for each in user.passwords):
            return replace(user, nopass=False)
        stored = passwords.stored(word)
    elif kind == b"#":
        if not is_digest(word):
            raise RuleError(BAD_HASH)
        stored = word
    else:
        if not is_slow(rule):
            raise RuleError(SYNTAX)
        stored = rule
    known = stored in user.passwords
    return replace(user, nopass=False, passwords=user.passwords if known else (*user.passwords, stored))


def _without_password(user: User, rule: bytes) -> User:
    word = rule[1:]
    if rule[:1] == b"<":
        stored = next((each for each in user.passwords if matches(each, word)), digest(word))
    else:
        if not is_digest(word) and not is_slow(word):
            raise RuleError(BAD_HASH)
        stored = word
    if stored not in user.passwords:
        raise RuleError(NO_SUCH_PASSWORD)
    return replace(user, passwords=tuple(each for each in user.passwords if each != stored))


# -- selectors ------------------------------------------------------------------------------------------


_OF_SELECTOR: dict[bytes, dict[str, object]] = {
    b"allkeys": {"all_keys": True, "keys": ()},
    b"~*": {"all_keys": True, "keys": ()},
    b"resetkeys": {"all_keys": False, "keys": ()},
    b"allchannels": {"all_channels": True, "channels": ()},
    b"&*": {"all_channels": True, "channels": ()},
    b"resetchannels": {"all_channels": False, "channels": ()},
    b"allcommands": {"all_commands": True, "rules": ()},
    b"+@all": {"all_commands": True, "rules": ()},
    b"nocommands": {"all_commands": False, "rules": ()},
    b"-@all": {"all_commands": False, "rules": ()},
}


def _selected(selector: Selector, rule: bytes, catalog: Catalog) -> Selector:
    """The selector after one rule. Raises RuleError."""
    fields = _OF_SELECTOR.get(rule.lower())
    if fields is not None:
        return replace(selector, **fields)
    kind = rule[:1]
    if kind in (b"~", b"%"):
        return _with_keys(selector, rule)
    if kind == b"&":
        return _with_channel(selector, rule[1:])
    if kind in (b"+", b"-"):
        return _with_commands(selector, kind, rule[1:], catalog)
    raise RuleError(SYNTAX)


def _with_keys(selector: Selector, rule: bytes) -> Selector:
    if selector.all_keys:
        raise RuleError(KEYS_AFTER_ALL)
    access, pattern = READ_WRITE, rule[1:]
    if rule[:1] == b"%":
        access, pattern = _permissions(rule)
    _check_pattern(pattern)
    known = [each.pattern for each in selector.keys]
    keys = list(selector.keys)
    if pattern in known:
        place = known.index(pattern)
        keys[place] = KeyPattern(pattern, keys[place].access | access)
    else:
        keys.append(KeyPattern(pattern, access))
    return replace(selector, keys=tuple(keys))


def _permissions(rule: bytes) -> tuple[int, bytes]:
    """The access and the pattern of `%R~pattern`, `%W~pattern` or `%RW~pattern`.

    A letter and the tilde have to be there: Redis 7.0.15 takes a rule without, and ends when it shows the
    user (CVE-2024-31227).
    """
    letters, tilde, pattern = rule[1:].partition(b"~")
    wanted = letters.upper()
    if not tilde or wanted not in (b"R", b"W", b"RW", b"WR"):
        raise RuleError(SYNTAX)
    return (READ if b"R" in wanted else 0) | (WRITE if b"W" in wanted else 0), pattern


def _with_channel(selector: Selector, pattern: bytes) -> Selector:
    if selector.all_channels:
        raise RuleError(CHANNELS_AFTER_ALL)
    _check_pattern(pattern)
    known = pattern in selector.channels
    return replace(selector, channels=selector.channels if known else (*selector.channels, pattern))


def _check_pattern(pattern: bytes) -> None:
    if has_spaces(pattern):
        raise RuleError(SYNTAX)
    if len(pattern) > PATTERN_BYTES_MAX:
        raise RuleError(PATTERN_TOO_LONG)


def _with_commands(selector: Selector, sign: bytes, word: bytes, catalog: Catalog) -> Selector:
    if word[:1] == b"@":
        if not is_category(word[1:]):
            raise RuleError(UNKNOWN)
        return _ruled(selector, sign, word.lower())
    name = catalog.named(word)
    if name is not None:
        return _ruled(selector, sign, name.encode())
    if sign == b"-" or b"|" not in word:
        raise RuleError(UNKNOWN)
    return _ruled(selector, sign, _with_first_argument(word, catalog))


def _with_first_argument(word: bytes, catalog: Catalog) -> bytes:
    """The rule that allows a command with one first argument, such as `select|0`."""
    command, _, argument = word.rpartition(b"|")
    name = catalog.named(command)
    if name is None:
        raise RuleError(UNKNOWN)
    if "|" in name:
        raise RuleError(ARGUMENT_OF_SUBCOMMAND)
    if not argument:
        raise RuleError(SYNTAX)
    if catalog.has_subcommands(name):
        raise RuleError(UNKNOWN)
    if has_spaces(argument):
        raise RuleError(SYNTAX)
    return word.lower()


def _ruled(selector: Selector, sign: bytes, rule: bytes) -> Selector:
    """The selector with one more rule, which takes the place of the same one and of those it includes."""
    inside = rule + b"|"
    rules = [each for each in selector.rules if each[1:] != rule and not each[1:].startswith(inside)]
    return replace(selector, rules=(*rules, sign + rule))


def has_spaces(word: bytes) -> bool:
    """Whether the word has white space or a NUL byte, which no name and no pattern may have."""
    return any(byte in _SPACES for byte in word)


_SPACES = b" \t\n\v\f\r\0"
