"""The options that may change while a node runs, and the changes that a reloaded file makes."""

from dataclasses import fields, replace
from typing import Any, NamedTuple

from kraft.config.values import Config

CHANGEABLE = frozenset(
    (
        "client.handshake_timeout",
        "client.idle_timeout",
        "http.token_file",
        "limits.connections",
        "limits.dataset_bytes",
        "log.level",
        "once.bytes",
        "once.tokens",
        "once.ttl",
        "tls.ca",
        "tls.certificate",
        "tls.crl",
        "tls.key",
    )
)


class Changes(NamedTuple):
    """The result of a reload.

    config: the configuration from now on.
    taken: the names of the options that have changed, in the order of the manual.
    need_restart: the names of the changed options that take effect only after a restart.
    """

    config: Config
    taken: tuple[str, ...]
    need_restart: tuple[str, ...]


def changes(running: Config, read: Config) -> Changes:
    """The changes from `running` to `read`. Options that need a restart keep their running value."""
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
