"""KRAFT ONCE token: in front of a command that writes, in front of EXEC, or as a command after MULTI.

The token tells a command that is sent again from one that is sent anew. docs/once.md shows how to use it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import msgspec

from kraft.config.values import OnceConfig
from kraft.kv import commands as kv
from kraft.kv.once import FINGERPRINT_BYTES
from kraft.resp.values import Request
from kraft.server.commands.prefix import prefixed
from kraft.server.commands.spec import AnySpec, CommandContext, ScriptSpec, WriteSpec
from kraft.server.errors import Rejected

NAME = "kraft|once"
_KINDS = (WriteSpec, ScriptSpec)
WORDS = 3  # KRAFT ONCE token
TOKEN_BYTES_MAX = 128


def alone(_: CommandContext, request: Request) -> str:
    """KRAFT ONCE token outside of a transaction, or in front of something that does not write."""
    token_of(request)
    raise Rejected(
        "ERR KRAFT ONCE token is followed by a command that writes, such as INCR key, or by EXEC."
        " A command that only reads needs no token: send it again"
    )


def variants(specs: Iterable[WriteSpec | ScriptSpec]) -> dict[bytes, AnySpec]:
    """The specifications of ONCE in front of each command, by the command's name in upper case.

    A command that is a prefix itself, such as KRAFT GUARD, goes on with its own variants.
    """
    return {spec.name.upper().encode(): _variant(spec) for spec in specs}


def _variant(spec: WriteSpec | ScriptSpec) -> AnySpec:
    inner = {word: _variant(each) for word, each in spec.variants.items() if isinstance(each, _KINDS)}
    places = tuple(WORDS + place for place in spec.variant_places) if inner else ()
    variant = prefixed(spec, NAME, WORDS, _once)
    return replace(variant, no_multi=True, variants=inner, variant_places=places)


def _once(request: Request, command: kv.Command) -> kv.Command:
    inner: Any = command  # every kind but Once itself
    return kv.Once(token_of(request), fingerprint((request[WORDS:],)), inner)


def of_user(command: kv.Once, script: kv.ScriptCall) -> kv.Once:
    """The command with `script` in it, whose reply depends on the rights of its user: so does the token."""
    fingerprint = fingerprint_of(script.user, command.fingerprint)
    return msgspec.structs.replace(command, command=script, fingerprint=fingerprint)


def fingerprint_of(user: bytes, fingerprint: bytes) -> bytes:
    """The fingerprint of a command whose reply depends on the rights of an encoded user."""
    key = blake2b(user).digest()
    return blake2b(fingerprint, digest_size=FINGERPRINT_BYTES, key=key).digest()


def token_of(request: Request) -> bytes:
    """The token of KRAFT ONCE token .... Raises Rejected."""
    token = request[2]
    if not 0 < len(token) <= TOKEN_BYTES_MAX:
        raise Rejected(f"ERR a token has 1 to {TOKEN_BYTES_MAX} bytes, and is a new one for each operation")
    return token


def limits(config: OnceConfig) -> tuple[int, int, int]:
    """The last fields of `kv.Once`, with the settings of this node."""
    return round(1000 * config.ttl), config.tokens, config.bytes


def fingerprint(requests: Sequence[Request], *, transaction: bool = False) -> bytes:
    """A hash of what the client sent: one command, or all commands of a transaction."""
    hashed = blake2b(digest_size=FINGERPRINT_BYTES, person=b"exec" if transaction else b"")
    for words in requests:
        hashed.update(b"%d " % len(words))
        for word in words:
            hashed.update(b"%d " % len(word))
            hashed.update(word)
    return hashed.digest()
