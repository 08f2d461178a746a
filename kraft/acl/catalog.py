"""The commands that rules name: their subcommands and categories, and which of them a selector allows."""

from collections.abc import Iterable, Mapping

from kraft.acl.user import Selector

CATEGORIES = (
    "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo",
    "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction",
    "scripting", "kraft",
)  # fmt: skip
"""All categories, in the order of Redis. Those of types that kraft does not have are empty."""

_KNOWN = frozenset(name.encode() for name in CATEGORIES)


class Catalog:
    """Commands by name in lower case, `client|list` for a subcommand, with their categories."""

    def __init__(self, commands: Mapping[str, Iterable[str]]) -> None:
        """`commands` are the categories by name; a family comes before its subcommands."""
        self._categories = {name: frozenset(found) for name, found in commands.items()}
        self._children: dict[str, list[str]] = {}
        for name in commands:
            family, divided, _ = name.partition("|")
            if divided:
                self._children.setdefault(family, []).append(name)

    def __contains__(self, name: str) -> bool:
        return name in self._categories

    def has_subcommands(self, name: str) -> bool:
        """Whether the command is a family."""
        return name in self._children

    def named(self, word: bytes) -> str | None:
        """The full name of a command that is written in any case, None if there is none."""
        name = word.lower().decode("latin-1")
        return name if name in self._categories else None

    def in_category(self, category: str) -> list[str]:
        """The commands of a category, each followed by its subcommands."""
        return [name for name, categories in self._categories.items() if category in categories]

    def allowed(self, selector: Selector) -> tuple[frozenset[str], dict[str, frozenset[bytes]]]:
        """What the commands of a selector are: the allowed names, and the first arguments, in lower case,
        with which others are allowed.
        """
        names = set(self._categories) if selector.all_commands else set()
        arguments: dict[str, frozenset[bytes]] = {}
        for rule in selector.rules:
            add, word = rule[:1] == b"+", rule[1:].decode("latin-1")
            if word[:1] == "@":
                for name in self.in_category(word[1:]):
                    self._change(names, arguments, name, add=add)
            elif word in self._categories:
                self._change(names, arguments, word, add=add)
            else:  # a command with a first argument, or one that this version does not have
                name, _, argument = word.partition("|")
                arguments[name] = arguments.get(name, frozenset()) | {argument.encode("latin-1")}
        return frozenset(names), arguments

    def _change(
        self, names: set[str], arguments: dict[str, frozenset[bytes]], name: str, *, add: bool
    ) -> None:
        """A family stands for all its subcommands."""
        changed = (name, *self._children.get(name, ()))
        (names.update if add else names.difference_update)(changed)
        arguments.pop(name, None)


def is_category(word: bytes) -> bool:
    """Whether there is a category of that name, in any case."""
    return word.lower() in _KNOWN
