"""A prefix in front of commands that write, such as KRAFT GUARD name token: it fits in front of each of them.

A prefix, not an option of each command: one place says what it means, without a change of any syntax.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from kraft.kv.commands import Command
from kraft.resp.values import Request
from kraft.server.commands.spec import ScriptSpec, WriteSpec

Wrap = Callable[[Request, Command], Command]
"""Makes the command of a request from the command after the prefix."""
Spec = TypeVar("Spec", bound=WriteSpec | ScriptSpec)


def prefixed(spec: Spec, name: str, words: int, wrap: Wrap) -> Spec:
    """The specification of `spec` after a prefix of so many words, whose command is `name`."""

    def run(request: Request) -> Command:
        return wrap(request, spec.run(request[words:]))

    place, step = spec.counted
    first, last, every = spec.keys
    if first:
        first, last = first + words, last + words if last > 0 else last
    return replace(
        spec,
        name=name,
        arity=spec.arity + (words if spec.arity > 0 else -words),
        keys=(first, last, every),
        counted=(place + words, step) if place else spec.counted,
        lock=spec.lock + words if spec.lock else 0,
        group="kraft",
        run=run,
        inner=spec,
        inner_at=words,
        variants={},
        variant_places=(),
    )
