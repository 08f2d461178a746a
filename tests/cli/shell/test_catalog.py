"""The server's own description of its commands: completion, hints, help, and what may be executed twice."""

from typing import Any

import pytest

from kraft.cli.shell.catalog import CommandCatalog
from kraft.cli.shell.help import help_lines


def argument(name, kind="string", token=None, flags=(), arguments=()):
    """One argument of COMMAND DOCS."""
    found = {b"name": name.encode(), b"type": kind.encode(), b"flags": list(flags)}
    if token:
        found[b"token"] = token.encode()
    if arguments:
        found[b"arguments"] = list(arguments)
    return found


SET = [
    argument("key", "key"),
    argument("value"),
    argument(
        "condition",
        "oneof",
        flags=["optional"],
        arguments=[argument("nx", "pure-token", "NX"), argument("xx", "pure-token", "XX")],
    ),
    argument("get", "pure-token", "GET", ["optional"]),
    argument("seconds", "integer", "EX", ["optional"]),
]
DEL = [argument("key", "key", flags=["multiple"])]
ADD = [argument(name) for name in ("id", "host", "raft-port")] + [
    argument(word, "pure-token", word, ["optional"]) for word in ("LEARNER", "FORCE")
]
WEIGHTS = [
    argument("numkeys", "integer"),
    argument("weight", "integer", "WEIGHTS", ["optional", "multiple"]),
    argument("pair", "block", flags=["multiple"], arguments=[argument("key", "key"), argument("value")]),
    argument("pattern", "string", "GET", ["optional", "multiple", "multiple_token"]),
    argument(
        "side", "oneof", arguments=[argument("l", "pure-token", "LEFT"), argument("r", "pure-token", "RIGHT")]
    ),
]
EXPECTED = (
    "numkeys [WEIGHTS weight [weight ...]] key value [key value ...]"
    " [GET pattern [GET pattern ...]] <LEFT|RIGHT>"
)


def entry(name, arity, flags, first=0, nested=()):
    """One element of COMMAND."""
    return [name.encode(), arity, list(flags), first, first, 1, [], [], [], list(nested)]


def doc(summary, group, arguments=(), subcommands=None):
    found = {
        b"summary": summary.encode(),
        b"group": group.encode(),
        b"arguments": list(arguments),
    }
    return found | ({b"subcommands": subcommands} if subcommands else {})


COMMANDS = [
    entry("get", 2, ["readonly", "fast"], 1),
    entry("set", -3, ["write"], 1),
    entry("del", -2, ["write"], 1),
    entry("append", 3, ["write"], 1),
    entry("info", -1, ["loading"]),
    entry("publish", 3, ["pubsub", "fast"]),
    entry("sort", -2, ["write"], 1),
    entry("kraft", -2, [], 0, [entry("kraft|add", -4, ["admin"]), entry("kraft|status", 2, ["loading"])]),
    entry("raft-add-node", -3, ["admin"]),
]
DOCS = {
    b"get": doc("Returns the value of a key.", "string"),
    b"set": doc("Sets the value of a key.", "string", SET),
    b"del": doc("Deletes keys.", "generic", DEL),
    b"append": doc("Appends.", "string"),
    b"info": doc("Returns facts.", "server"),
    b"publish": doc("Publishes.", "pubsub"),
    b"sort": doc("Sorts.", "generic", WEIGHTS),
    b"kraft": doc(
        "Contains kraft's own commands.",
        "kraft",
        subcommands={b"kraft|add": doc("Adds.", "kraft", ADD), b"kraft|status": doc("Shows.", "kraft")},
    ),
    b"raft-add-node": doc("KRAFT ADD of the Java shell.", "kraft"),
}


def flat(value: Any) -> Any:
    """A reply as RESP2 has it: maps are lists."""
    if isinstance(value, dict):
        return [flat(each) for pair in value.items() for each in pair]
    return [flat(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(params=["RESP3", "RESP2"])
def catalog(request):
    answers: dict[bytes, Any] = {b"COMMAND": COMMANDS, b"DOCS": DOCS}
    found = CommandCatalog()
    found.load(lambda words: answers[words[-1]] if request.param == "RESP3" else flat(answers[words[-1]]))
    return found


@pytest.mark.parametrize(
    ("words", "syntax"),
    [
        (["set"], "key value [NX|XX] [GET] [EX seconds]"),
        (["del"], "key [key ...]"),
        (["sort"], EXPECTED),
        (["get"], "key"),
        (["append"], "key value"),
        (["info"], "[...]"),
        (["kraft"], "subcommand"),
        (["KRAFT", "add"], "id host raft-port [LEARNER] [FORCE]"),
        (["kraft", "status"], ""),
    ],
)
def test_the_syntax_is_that_of_the_documentation(catalog, words, syntax):
    """Without one, it is what the arity tells."""
    assert catalog.find(words).syntax == syntax


@pytest.mark.parametrize(
    ("words", "last", "found"),
    [
        ([], "s", ["set", "sort"]),
        ([], "S", ["SET", "SORT"]),
        ([], "kraf", ["kraft"]),
        (["kraft"], "", ["ADD", "STATUS"]),
        (["kraft"], "st", ["status"]),
        (["set", "a", "1"], "n", ["nx"]),
        (["set", "a", "1"], "", []),
        (["kraft", "add", "K4"], "LE", ["LEARNER"]),
        (["unknown"], "x", []),
        ([], "raft-", ["raft-add-node"]),
    ],
)
def test_completion(catalog, words, last, found):
    """Commands, subcommands and fixed words, in the case that was typed."""
    assert catalog.complete(words, last) == found


def test_a_hint_is_the_syntax_and_the_summary(catalog):
    assert catalog.hint(["del", "a"], 80) == ["DEL key [key ...]", "Deletes keys."]
    assert catalog.hint(["del", "a"], 8) == ["DEL key", "[key", "...]", "Deletes "]
    assert catalog.hint(["kraft", "status"], 80) == ["KRAFT STATUS", "Shows."]
    assert catalog.hint([], 80) == catalog.hint(["unknown"], 80) == []


@pytest.mark.parametrize(
    ("words", "repeatable"),
    [
        ([b"get", b"a"], True),
        ([b"INFO"], True),
        ([b"kraft", b"status"], True),
        ([b"command", b"docs"], True),
        ([b"set", b"a", b"1"], False),
        ([b"kraft", b"add", b"K4"], False),
        ([b"publish", b"a", b"b"], False),
        ([b"unknown"], False),
        ([b"\xff"], False),
    ],
)
def test_only_what_certainly_changes_nothing_may_be_executed_twice(catalog, words, repeatable):
    """PUBLISH has no flag `write` and sends a message nevertheless."""
    assert catalog.repeatable(words) is repeatable


def test_help(catalog):
    overview = "\n".join(help_lines(catalog, []))
    assert "@string\n  APPEND GET SET" in overview
    assert help_lines(catalog, ["del"]) == ["DEL key [key ...]", "    Deletes keys."]
    assert "  KRAFT ADD id host raft-port [LEARNER] [FORCE]" in help_lines(catalog, ["kraft"])
    assert help_lines(catalog, ["kraft", "add"])[1] == "    Adds."
    assert "SET key value [NX|XX] [GET] [EX seconds]" in help_lines(catalog, ["@String"])
    assert help_lines(catalog, ["@x"]) == [
        "there is no group @x; the groups are @generic @kraft @pubsub @server @string"
    ]
    assert help_lines(catalog, ["sett"]) == ["there is no command sett; did you mean SET?"]
    assert help_lines(catalog, ["juggle"]) == ["there is no command juggle; try `help`"]


def test_help_before_a_node_has_answered():
    assert "once a node answers" in help_lines(CommandCatalog(), [])[-1]
    assert "no node has told" in help_lines(CommandCatalog(), ["get"])[0]


def test_a_server_without_documentation_leaves_the_catalog_empty():
    found = CommandCatalog()
    found.load(lambda _: "OK")
    assert found.commands == {}
