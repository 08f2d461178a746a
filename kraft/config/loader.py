"""From YAML text to a `Config`, with strict checks and all problems at once.

The loader walks the classes of `values.py`, so it knows every option that is declared there. It goes on after
a problem, so that one does not hide another. Rules between options are checked only for valid options.
"""

import difflib
import errno
from collections.abc import Collection, Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, cast, get_args, get_origin, get_type_hints

from kraft.config.kinds import FilePath, Kind
from kraft.config.problems import ConfigError, Problem
from kraft.config.rules import RULES, advertised
from kraft.config.tree import TEXT_BYTES_MAX, Mapping, Scalar, Tree, read_tree
from kraft.config.values import Config
from kraft.raft.membership.configuration import MEMBERS_MAX

_STAND_INS = {"node.id": "?", "node.data": "?"}  # required options, to go on with after a problem
_DIALLED_BY = {"peer": "peers", "client": "clients", "http": "browsers and scrapers"}


def load(path: str) -> Config:
    """The configuration in a file. Raises ConfigError if it cannot be read or is invalid."""
    try:
        with Path(path).open("rb") as file:  # not all at once: it might be a device that never ends
            text = file.read(TEXT_BYTES_MAX + 1).decode("utf-8")
    except OSError as error:
        look = f" (ls -l {path})" if error.errno == errno.EACCES else ""
        raise ConfigError((Problem(path, "", f"cannot be read: {error.strerror}{look}"),)) from None
    except UnicodeDecodeError as error:
        raise ConfigError((Problem(path, "", f"not UTF-8 text, from byte {error.start} on"),)) from None
    return parse(text, path, folder=str(Path(path).absolute().parent))


def parse(text: str, source: str, folder: str = "") -> Config:
    """The configuration in `text`. Raises ConfigError with all problems.

    `source` is its name in problems; relative paths are resolved against `folder`.
    """
    reading = _Reading(source, folder)
    root = read_tree(text, source, reading.problems)
    if not isinstance(root, Mapping):
        raise ConfigError((Problem(source, "", "sections such as `node:` are needed here", root.line),))
    reading.read(root)
    reading.derive_addresses()
    reading.require()
    config = reading.config()
    reading.check(config)
    if reading.problems:
        raise ConfigError(tuple(sorted(reading.problems, key=lambda problem: problem.line or 1 << 30)))
    return config


def sections() -> Iterator[tuple[str, type[Any]]]:
    """(name, class) of each section, in the order of the manual."""
    hints = get_type_hints(Config)
    for section in fields(Config):
        yield section.name, hints[section.name]


def options(section: type[Any]) -> Iterator[tuple[Field[Any], Any]]:
    """(field, type hint) of each option of a section class."""
    hints = get_type_hints(section, include_extras=True)
    for option in fields(section):
        yield option, hints[option.name]


def kind_of(hint: Any) -> Kind:
    """The kind in an `Annotated` type hint."""
    return cast(Kind, hint.__metadata__[0])


class _Reading:
    """The state of one load: the given options, their lines, and the problems."""

    def __init__(self, source: str, folder: str) -> None:
        self.source = source
        self.folder = folder
        self.problems: list[Problem] = []
        self.given: dict[str, dict[str, Any]] = {name: {} for name, _ in sections()}
        self.lines: dict[str, int] = {}
        self.bad: set[str] = set()  # paths of options with a problem

    def add(self, path: str, text: str, line: int = 0) -> None:
        """Add a problem. The default line is that of the option, or else of its section."""
        section = path.partition(".")[0]
        line = line or self.lines.get(path, 0) or self.lines.get(section, 0)
        self.problems.append(Problem(self.source, path, text, line))
        self.bad.add(path)

    def read(self, root: Mapping) -> None:
        """Read all given options of all sections."""
        known = dict(sections())
        self._refuse_unknown(root, "", known)
        for name, section in known.items():
            line, tree = root.items.get(name, (0, None))
            if tree is None or (isinstance(tree, Scalar) and tree.null):
                continue
            self.lines[name] = line
            if not isinstance(tree, Mapping):
                self.add(name, f"a section is needed here, with keys such as {fields(section)[0].name}")
                self.bad.update(f"{name}.{option.name}" for option in fields(section))
                continue
            self._read_section(name, section, tree)

    def _read_section(self, name: str, section: type[Any], tree: Mapping) -> None:
        known = dict(options(section))
        self._refuse_unknown(tree, name, [option.name for option in known])
        for option, hint in known.items():
            if option.name not in tree.items:
                continue
            path = f"{name}.{option.name}"
            self.lines[path], value = tree.items[option.name]
            if get_origin(hint) is dict:
                self._read_mapping(path, hint, value)
            elif not isinstance(value, Scalar):
                self.add(path, f"one value is needed here: {kind_of(hint).form}")
            elif value.null and option.default is None:
                continue
            else:
                self._convert(path, kind_of(hint), value)

    def _read_mapping(self, path: str, hint: Any, tree: Tree) -> None:
        key_kind, value_kind = map(kind_of, get_args(hint))
        if isinstance(tree, Scalar) and tree.null:
            return
        if not isinstance(tree, Mapping):
            forms = f"key: {key_kind.form}; value: {value_kind.form}"
            self.add(path, f"lines of `key: value` are needed here; {forms}")
            return
        if len(tree.items) > MEMBERS_MAX:
            self.add(path, f"{len(tree.items)} entries are too many; write {MEMBERS_MAX} at most")
        entries: dict[str, str] = {}
        for key, (line, value) in tree.items.items():
            below = f"{path}.{key}"
            try:
                key_kind.convert(key)
                if not isinstance(value, Scalar):
                    raise ValueError(f"one value is needed here: {value_kind.form}")
                entries[key] = cast(str, value_kind.convert(value.text))
            except ValueError as error:
                self.add(below, str(error), line)
                self.bad.add(path)
        self._give(path, entries)

    def _convert(self, path: str, kind: Kind, scalar: Scalar) -> None:
        try:
            value = kind.convert(scalar.text)
        except ValueError as error:
            self.add(path, str(error))
            return
        if isinstance(kind, FilePath) and self.folder:
            value = str(Path(self.folder, cast(str, value)))
        self._give(path, value)

    def _give(self, path: str, value: object) -> None:
        section, _, option = path.partition(".")
        self.given[section][option] = value

    def _refuse_unknown(self, tree: Mapping, path: str, known: Collection[str]) -> None:
        for key, (line, _) in tree.items.items():
            if key in known:
                continue
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
            self.add(f"{path}.{key}" if path else key, f"unknown key; {hint}", line)

    def derive_addresses(self) -> None:
        """Set the addresses to advertise from the endpoints, unless they are given or cannot be derived."""
        own = self.given["cluster"].get("members", {}).get(self.given["node"].get("id"))
        if own is not None and not {"peer.advertise", "cluster.members"} & self.bad:
            self.given["peer"].setdefault("advertise", own)
        for section, dialled_by in _DIALLED_BY.items():
            given, path = self.given[section], f"{section}.advertise"
            if "advertise" in given or "listen" not in given or path in self.bad:
                continue
            address = advertised(given["listen"])
            if not address and section != "http":  # only links of the status page need the address of http
                self.add(path, f"cannot be derived from `listen`; write the host:port that {dialled_by} dial")
            given["advertise"] = address

    def require(self) -> None:
        """Add a problem for each missing option without a default."""
        for name, section in sections():
            for option, hint in options(section):
                path = f"{name}.{option.name}"
                missing = option.default is MISSING and option.default_factory is MISSING
                if missing and option.name not in self.given[name] and path not in self.bad:
                    self.add(path, f"is required; write {kind_of(hint).form}")

    def config(self) -> Config:
        """The configuration, with defaults or stand-ins for options that are missing or have a problem."""
        given = {name: dict(values) for name, values in self.given.items()}
        for path, value in _STAND_INS.items():
            section, _, option = path.partition(".")
            given[section].setdefault(option, value)
        return Config(**{name: section(**given[name]) for name, section in sections()})

    def check(self, config: Config) -> None:
        """Check the rules between options, except rules with an option that has a problem."""
        bad = frozenset(self.bad)
        for rule in RULES:
            if bad.isdisjoint(rule.reads):
                for path, text in rule.broken(config):
                    self.add(path, text)
