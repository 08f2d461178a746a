"""Passwords as they are stored: SHA-256 as in Redis, or scrypt for those that people choose.

A password of `RANDOM_BYTES` or more is taken for a random one, as ACL GENPASS gives it. Nobody can guess such
a password, whatever its hash, so it is stored like in Redis: 64 hexadecimal digits. A shorter one is stored
by scrypt (RFC 7914) in the form of the PHC (https://github.com/P-H-C/phc-string-format), which Redis does not
know: each guess takes 16 MiB of memory and tens of milliseconds.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import scrypt, sha256
from hmac import compare_digest

RANDOM_BYTES = 32
PASSWORD_BYTES_MAX = 16 << 10  # what Redis takes before a login: hashing more would be work for a stranger
SALT_BYTES = 16
HASH_BYTES = 32
LOG2_ROUNDS = 14  # 2^14 blocks of 1 KiB
MEMORY_BYTES = 64 << 20  # more than any accepted form needs
_SLOW = re.compile(rb"\$scrypt\$ln=(1[0-5]|[1-9]),r=8,p=1\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})")
_FAST = re.compile(rb"[0-9a-f]{64}")


class Passwords:
    """Makes the stored form of a password.

    `salt` gives SALT_BYTES random bytes; without it every password is stored as SHA-256.
    """

    def __init__(self, salt: Callable[[], bytes] | None = None) -> None:
        self._salt = salt

    def is_slow(self, password: bytes) -> bool:
        """Whether `stored` takes long for it."""
        return self._salt is not None and len(password) < RANDOM_BYTES

    def stored(self, password: bytes) -> bytes:
        """The form in which the password is stored."""
        if self._salt is None or not self.is_slow(password):
            return digest(password)
        salt = self._salt()
        hashed = _scrypt(password, salt, LOG2_ROUNDS)
        return b"$scrypt$ln=%d,r=8,p=1$%b$%b" % (LOG2_ROUNDS, _encoded(salt), _encoded(hashed))


def digest(password: bytes) -> bytes:
    """The SHA-256 of a password in hexadecimal digits."""
    return sha256(password).hexdigest().encode()


def is_digest(word: bytes) -> bool:
    """Whether the word is a stored SHA-256."""
    return _FAST.fullmatch(word) is not None


def is_slow(word: bytes) -> bool:
    """Whether the word is a stored scrypt."""
    return _SLOW.fullmatch(word) is not None


def matches(stored: bytes, password: bytes) -> bool:
    """Whether the password is the stored one. The time does not depend on where they differ."""
    slow = _SLOW.fullmatch(stored)
    if slow is None:
        return compare_digest(stored, digest(password))
    rounds, salt, hashed = slow.groups()
    return compare_digest(_decoded(hashed), _scrypt(password, _decoded(salt), int(rounds)))


def waste_time(password: bytes) -> None:
    """Take as long as one slow comparison."""
    _scrypt(password, bytes(SALT_BYTES), LOG2_ROUNDS)


def _scrypt(password: bytes, salt: bytes, log2_rounds: int) -> bytes:
    return scrypt(password, salt=salt, n=1 << log2_rounds, r=8, p=1, maxmem=MEMORY_BYTES, dklen=HASH_BYTES)


def _encoded(data: bytes) -> bytes:
    return b64encode(data).rstrip(b"=")


def _decoded(text: bytes) -> bytes:
    return b64decode(text + b"=" * (-len(text) % 4))
