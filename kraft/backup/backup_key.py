"""The key of encrypted backups: AES-256-GCM for each frame, HMAC-SHA-256 for the manifest.

Each file has a key of its own, derived from the key file and a random salt in the file's header. So the
number of a frame is a nonce that is used once, and a frame cannot be moved to another file or place
unnoticed: the frame's kind and the digest of the header are authenticated with it (as in the STREAM
construction, Hoang et al., CRYPTO 2015). `cryptography` is needed for the frames only, and is imported when
there is a key.
"""

import hashlib
import hmac
import re
from pathlib import Path
from typing import Any

from kraft.backup.errors import BackupError, DamagedBackup

KEY_BYTES = 32
SALT_BYTES = 16
TAG_BYTES = 16
_HEX = re.compile(rb"[0-9a-fA-F]{%d}" % (2 * KEY_BYTES))
_HINT = "openssl rand -hex 32 makes one"


class BackupKey:
    """The key in a key file."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def read(cls, path: str | None) -> "BackupKey | None":
        """The key in the file at `path`, 64 hexadecimal digits; None without a path. Raises `BackupError`."""
        if path is None:
            return None
        try:
            with Path(path).open("rb") as file:
                text = file.read(2 * KEY_BYTES + 64).strip()
        except OSError as error:
            raise BackupError(f"key file {path}: {error.strerror or error}") from error
        if not _HEX.fullmatch(text):
            raise BackupError(f"key file {path}: it has to hold 64 hexadecimal digits: {_HINT}")
        return cls(bytes.fromhex(text.decode()))

    def mac(self, data: bytes) -> str:
        """The authentication code of a manifest, as hexadecimal digits."""
        return hmac.new(self._secret, b"manifest " + data, hashlib.sha256).hexdigest()

    def cipher(self, header: bytes, salt: bytes) -> "FileCipher":
        """The cipher of one file with this header, in which `salt` stands."""
        return FileCipher(hmac.new(self._secret, b"file " + salt, hashlib.sha256).digest(), header)


class FileCipher:
    """Encrypts the frames of one file. Frames are numbered from 1."""

    def __init__(self, key: bytes, header: bytes) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise BackupError("encrypted backups need a library: pip install cryptography") from None
        self._aead: Any = AESGCM(key)
        self._header = hashlib.sha256(header).digest()

    def seal(self, number: int, kind: bytes, data: bytes) -> bytes:
        """The encrypted form of `data`, `TAG_BYTES` longer."""
        sealed: bytes = self._aead.encrypt(number.to_bytes(12, "big"), data, kind + self._header)
        return sealed

    def open(self, place: object, number: int, kind: bytes, sealed: bytes) -> bytes:
        """The inverse of `seal`. Raises `DamagedBackup`."""
        from cryptography.exceptions import InvalidTag

        try:
            data: bytes = self._aead.decrypt(number.to_bytes(12, "big"), sealed, kind + self._header)
        except (InvalidTag, ValueError):
            raise DamagedBackup(place, f"frame {number} is not what was encrypted with this key") from None
        return data
