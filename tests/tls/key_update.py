"""The key update of a client (RFC 8446 section 4.6.3), which Python's `ssl` cannot send, made by hand."""

from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

APPLICATION_DATA, HANDSHAKE, KEY_UPDATE, UPDATE_REQUESTED = 23, 22, 24, 1
TAG_BYTES = 16


class KeyUpdates:
    """The key updates of a client with TLS_AES_256_GCM_SHA384 that has sent no application data.

    keys: the file in the format of `SSLKEYLOGFILE` with the secrets of this client alone.
    """

    def __init__(self, keys: Path) -> None:
        [line] = [
            text for text in keys.read_text().splitlines() if text.startswith("CLIENT_TRAFFIC_SECRET_0 ")
        ]
        self._secret = bytes.fromhex(line.split()[2])

    def next(self) -> bytes:
        """The record that asks the other end for a key update as well; the next one has other keys."""
        key, nonce = self._expand(b"key", 32), self._expand(b"iv", 12)
        message = bytes((KEY_UPDATE, 0, 0, 1, UPDATE_REQUESTED, HANDSHAKE))
        header = bytes((APPLICATION_DATA, 3, 3)) + (len(message) + TAG_BYTES).to_bytes(2, "big")
        self._secret = self._expand(b"traffic upd", 48)
        return header + AESGCM(key).encrypt(nonce, message, header)  # the first record of its keys

    def _expand(self, label: bytes, size: int) -> bytes:
        """HKDF-Expand-Label (section 7.1) without a context."""
        label = b"tls13 " + label
        info = size.to_bytes(2, "big") + bytes((len(label),)) + label + b"\0"
        return HKDFExpand(SHA384(), size, info).derive(self._secret)
