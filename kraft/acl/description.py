"""Users as text: the lines of ACL LIST and of an ACL file, and their parts."""

from kraft.acl.passwords import is_slow
from kraft.acl.user import READ, READ_WRITE, WRITE, Sanitize, Selector, User

_ACCESS = {READ_WRITE: b"~", READ: b"%R~", WRITE: b"%W~"}


def line_of(user: User) -> bytes:
    """The line of a user: `user alice on #... ~app:* resetchannels -@all +@read`."""
    passwords = [each if is_slow(each) else b"#" + each for each in user.passwords]
    root, *others = user.selectors
    words = [b"user", user.name, *flags(user), *passwords, _selector(root)]
    return b" ".join([*words, *(b"(%b)" % _selector(each) for each in others)])


def flags(user: User) -> list[bytes]:
    """What is set of a user, in the order of Redis."""
    found = [b"on" if user.on else b"off"]
    if user.nopass:
        found.append(b"nopass")
    if user.sanitize != Sanitize.UNSET:
        found.append(b"skip-sanitize-payload" if user.sanitize == Sanitize.SKIP else b"sanitize-payload")
    return found


def commands(selector: Selector) -> bytes:
    """The rules on commands: `-@all +@read`."""
    return b" ".join([b"+@all" if selector.all_commands else b"-@all", *selector.rules])


def keys(selector: Selector) -> bytes:
    """The patterns of keys: `~app:* %R~shared:*`."""
    if selector.all_keys:
        return b"~*"
    return b" ".join([_ACCESS[each.access] + each.pattern for each in selector.keys])


def channels(selector: Selector) -> bytes:
    """The patterns of channels: `&news.*`."""
    return b"&*" if selector.all_channels else b" ".join([b"&" + each for each in selector.channels])


def _selector(selector: Selector) -> bytes:
    reset = [] if selector.all_channels else [b"resetchannels"]
    words = [keys(selector), *reset, channels(selector), commands(selector)]
    return b" ".join([word for word in words if word])
