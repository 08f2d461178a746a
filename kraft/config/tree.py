"""From YAML text to a tree of mappings, lists and scalars, as written and with their lines.

YAML guesses the type of a scalar (`on`, `012`, `1:30`) and silently lets the last of repeated keys win. So
only PyYAML's composer is used, which builds nodes and no values: scalars stay text, a repeated key is a
problem.
"""

from dataclasses import dataclass
from typing import TypeAlias

import yaml

from kraft.config.problems import ConfigError, Problem

DEPTH_MAX = 3  # the deepest option is cluster.members.ID; YAML aliases could make a loop
TEXT_BYTES_MAX = 1 << 20  # thousands of times a real configuration; limits the cost of a wrong --config


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value as written. `null` is true for a missing value, and for a bare `~` or `null`."""

    text: str
    line: int
    null: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list. No option is a list, so the items are not kept."""

    line: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """Values by key in the order of the file, each with its line."""

    items: dict[str, tuple[int, "Tree"]]
    line: int


Tree: TypeAlias = Mapping | Sequence | Scalar


def read_tree(text: str, source: str, problems: list[Problem]) -> Tree:
    """The tree of one YAML document. Appends its problems to `problems`; raises ConfigError if it is not
    YAML.
    """
    if len(text) > TEXT_BYTES_MAX:
        raise ConfigError((Problem(source, "", f"the text is longer than {TEXT_BYTES_MAX} bytes"),))
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        text = f"not valid YAML: {error.problem or error.context}"
        raise ConfigError((Problem(source, "", text, line),)) from None
    except yaml.YAMLError as error:
        raise ConfigError((Problem(source, "", f"not valid YAML: {str(error).splitlines()[0]}"),)) from None
    except RecursionError:
        raise ConfigError((Problem(source, "", "not a configuration: nested too deeply"),)) from None
    if node is None:
        return Mapping({}, 1)
    return _tree(node, source, "", problems, depth=0)


def _tree(node: yaml.Node, source: str, path: str, problems: list[Problem], depth: int) -> Tree:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        null = node.style is None and node.value in ("", "~", "null")
        return Scalar(node.value, line, null)
    if not isinstance(node, yaml.MappingNode) or depth == DEPTH_MAX:
        return Sequence(line)
    items: dict[str, tuple[int, Tree]] = {}
    for key, value in node.value:
        key_line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            problems.append(Problem(source, path, "a key must be a plain word", key_line))
            continue
        below = f"{path}.{key.value}" if path else key.value
        if key.value in items:
            text = f"duplicate key; it is on line {items[key.value][0]} already, remove one"
            problems.append(Problem(source, below, text, key_line))
            continue
        items[key.value] = (key_line, _tree(value, source, below, problems, depth + 1))
    return Mapping(items, line)
