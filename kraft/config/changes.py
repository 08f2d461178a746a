"""What may change while a node runs, and what a file that was read again would change."""

from dataclasses import fields, replace
from typing import Any, NamedTuple

from kraft.config.values import Config

CHANGEABLE = frozenset(
    (
        "client.handshake_timeout",
        "client.idle_timeout",
        "limits.connections",
        "limits.dataset_bytes",
        "log.level",
    )
)


class Changes(NamedTuple):
    """`config` is what holds from now on; the others are names of options, in the order of the manual."""

    config: Config
    taken: tuple[str, ...]
    need_restart: tuple[str, ...]


def changes(running: Config, read: Config) -> Changes:
    """What to take over from `read` at once. The rest stays as it runs, and is named at each reload."""
    taken: list[str] = []
    need_restart: list[str] = []
    sections: dict[str, Any] = {}
    for section in fields(Config):
        old, new = getattr(running, section.name), getattr(read, section.name)
        given: dict[str, Any] = {}
        for option in fields(old):
            path, value = f"{section.name}.{option.name}", getattr(new, option.name)
            if value == getattr(old, option.name):
                continue
            if path in CHANGEABLE:
                given[option.name] = value
                taken.append(path)
            else:
                need_restart.append(path)
        sections[section.name] = replace(old, **given)
    return Changes(Config(**sections), tuple(taken), tuple(need_restart))
