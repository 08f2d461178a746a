"""A file of frames: the form of every part of an image and of every segment of a shipped log.

    file    magic, header frame, data frames; a part of an image ends with an end frame
    frame   length (4 bytes), CRC-32 (4 bytes), kind (1 byte), data

A frame's CRC continues that of the frame before it, like the rows of the log, so a missing, changed, swapped
or foreign frame is noticed at that frame. The header is JSON. With a key the data of data and end frames is
encrypted (`backup_key`), and the header has the salt.
"""

import hashlib
import os
import secrets
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from kraft.backup.backup_key import SALT_BYTES, BackupKey
from kraft.backup.errors import BackupError, DamagedBackup, WrongKey

MAGIC = b"kraft backup 1\n"
FRAME_BYTES_MAX = 32 << 20  # above one row of the longest key and value, and above one log entry
HEADER_BYTES_MAX = 64 << 10
HEADER, DATA, END = b"H", b"D", b"E"
_HEAD = struct.Struct(">II")
_SALT = "salt"
_FULL = frozenset((28, 122))  # ENOSPC, EDQUOT

Header = Mapping[str, Any]


def explain(place: object, error: OSError) -> BackupError:
    """What an error of the file system means for a backup."""
    reason = "no space is left" if error.errno in _FULL else error.strerror or str(error)
    return BackupError(f"{place}: {reason}")


class FrameFileWriter:
    """A new file. `size` is its number of bytes. Methods raise `BackupError`."""

    def __init__(self, path: Path, header: Header, key: BackupKey | None) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._crc = 0
        self._number = 0
        self._cipher = None
        salt = secrets.token_bytes(SALT_BYTES)
        encoded = msgspec.json.encode({**header, _SALT: salt.hex()} if key is not None else dict(header))
        if key is not None:
            self._cipher = key.cipher(encoded, salt)
        try:
            self._file = path.open("xb")
        except OSError as error:
            raise explain(path, error) from error
        self._write(MAGIC)
        self._frame(HEADER, encoded)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the whole file so far."""
        return self._hash.hexdigest()

    def add(self, data: bytes) -> None:
        """Append a data frame."""
        self._sealed(DATA, data)

    def end(self) -> None:
        """Append the end frame; nothing may follow it."""
        self._sealed(END, b"")

    def sync(self) -> None:
        """Make what was written durable."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise explain(self.path, error) from error

    def close(self) -> None:
        """Close the file, without sync."""
        try:
            self._file.close()
        except OSError as error:
            raise explain(self.path, error) from error

    def _sealed(self, kind: bytes, data: bytes) -> None:
        self._number += 1
        self._frame(kind, data if self._cipher is None else self._cipher.seal(self._number, kind, data))

    def _frame(self, kind: bytes, data: bytes) -> None:
        self._crc = _checksum(self._crc, kind, data)
        self._write(_HEAD.pack(len(data), self._crc) + kind)
        self._write(data)

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise explain(self.path, error) from error
        self._hash.update(data)
        self.size += len(data)


class FrameFileReader:
    """An existing file. `header` is its header. `ended` is set when the end frame was met.

    Methods raise `BackupError`: `DamagedBackup` for a file that is missing or changed, `WrongKey` for one
    that is encrypted, or is not, against expectation.
    """

    def __init__(self, path: Path, key: BackupKey | None) -> None:
        self.path = path
        self.size = 0
        self.ended = False
        self._hash = hashlib.sha256()
        self._crc = 0
        self._number = 0
        try:
            self._file = path.open("rb")
        except FileNotFoundError:
            raise DamagedBackup(path, "it is missing") from None
        except OSError as error:
            raise explain(path, error) from error
        try:
            if self._read(len(MAGIC), "the beginning") != MAGIC:
                raise DamagedBackup(path, "it does not begin like a file of a backup")
            kind, encoded = self._frame() or (b"", b"")
            if kind != HEADER or len(encoded) > HEADER_BYTES_MAX:
                raise DamagedBackup(path, "its header is missing")
            self.header: dict[str, Any] = self._decoded(encoded)
            salt = self.header.get(_SALT)
            if (salt is None) != (key is None):
                raise WrongKey(f"{path}: it is {'not ' if salt is None else ''}encrypted")
            self._cipher = None if key is None else key.cipher(encoded, bytes.fromhex(str(salt)))
        except ValueError as error:
            self._file.close()
            raise DamagedBackup(path, "its header is unreadable") from error
        except BaseException:
            self._file.close()
            raise

    def _decoded(self, encoded: bytes) -> dict[str, Any]:
        try:
            return msgspec.json.decode(encoded, type=dict[str, Any])
        except msgspec.DecodeError:
            raise DamagedBackup(self.path, "its header is unreadable") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was read so far."""
        return self._hash.hexdigest()

    def frames(self) -> Iterator[bytes]:
        """The data of the data frames, up to the end frame or the end of the file."""
        while (frame := self._frame()) is not None:
            kind, data = frame
            self._number += 1
            if self.ended or kind not in (DATA, END):
                raise DamagedBackup(self.path, f"frame {self._number} is out of place")
            if self._cipher is not None:
                data = self._cipher.open(self.path, self._number, kind, data)
            if kind == END:
                self.ended = True
            else:
                yield data

    def _frame(self) -> tuple[bytes, bytes] | None:
        """The next frame, None at the end of the file."""
        where = f"frame {self._number + 1}"
        head = self._read(_HEAD.size + 1, where, may_end=True)
        if not head:
            return None
        length, crc = _HEAD.unpack_from(head)
        if length > FRAME_BYTES_MAX:
            raise DamagedBackup(self.path, f"the length of {where} is impossible")
        kind, data = head[_HEAD.size :], self._read(length, where)
        self._crc = _checksum(self._crc, kind, data)
        if self._crc != crc:
            raise DamagedBackup(self.path, f"the checksum of {where} does not match")
        return kind, data

    def _read(self, size: int, what: str, *, may_end: bool = False) -> bytes:
        try:
            data = self._file.read(size)
        except OSError as error:
            raise explain(self.path, error) from error
        self._hash.update(data)
        self.size += len(data)
        if len(data) != size and (data or not may_end):
            raise DamagedBackup(self.path, f"it is truncated: {what} is incomplete")
        return data


def _checksum(before: int, kind: bytes, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(kind + len(data).to_bytes(4, "big"), before))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises `BackupError`."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise explain(folder, error) from error


def replace_file(path: Path, content: bytes, *, durable: bool) -> None:
    """Write a small file in place of the one that is there. Raises `BackupError`."""
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise explain(path, error) from error
    if durable:
        sync_folder(path.parent)
