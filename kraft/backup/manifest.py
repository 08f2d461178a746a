"""`manifest.json` of an image: what it holds, in JSON that people can read, with a checksum of its own.

It names every part with its length and SHA-256, and for each group the place in the log and the sum of the
state there, which is the one that replicas are compared by. The file is exactly what `render` makes of the
manifest, so any changed byte is noticed. With a key it also has an authentication code.
"""

import hashlib
import hmac
from pathlib import Path
from typing import Annotated

import msgspec

from kraft.backup.backup_key import BackupKey
from kraft.backup.errors import BackupError, DamagedBackup, WrongKey
from kraft.backup.frames import explain, replace_file
from kraft.kv.checkpoint import Checkpoint
from kraft.raft.membership.configuration import Base, decode

GROUPS_NAMED = 8  # in a text; of more of them it gives numbers
MANIFEST_FILE = "manifest.json"
FORMAT = 1
MANIFEST_BYTES_MAX = 64 << 20

_Number = Annotated[int, msgspec.Meta(ge=0)]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of an image."""

    file: str
    bytes: _Number
    sha256: str


class GroupImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state of one group at `index`: the fields of its `Checkpoint`, `stamp_ms` that of the entry there.

    `sum` is in hexadecimal digits. `configuration` is the encoded one in force there.
    """

    group: _Number
    index: _Number
    term: _Number
    stamp_ms: _Number
    revision: _Number
    keys: _Number
    size: _Number
    sum: str
    machine_version: _Number
    configuration_index: _Number
    configuration: bytes
    parts: tuple[Part, ...] = ()

    @classmethod
    def of(cls, group: int, checkpoint: Checkpoint) -> "GroupImage":
        """The image of a checkpoint, without parts."""
        base = checkpoint.base
        return cls(
            group=group,
            index=base.index,
            term=base.term,
            stamp_ms=base.stamp,
            revision=checkpoint.revision,
            keys=checkpoint.keys,
            size=checkpoint.size,
            sum=checkpoint.sum.hex(),
            machine_version=checkpoint.machine_version,
            configuration_index=base.configuration_index,
            configuration=base.configuration.encode(),
        )

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that the image was made of. Raises ValueError for fields that cannot be one."""
        configuration = decode(self.configuration)
        base = Base(self.index, self.term, self.stamp_ms, self.configuration_index, configuration)
        sum_ = bytes.fromhex(self.sum)
        return Checkpoint(base, self.revision, self.keys, self.size, sum_, self.machine_version)


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An image. `node` made it with the kraft `version`; times are in Unix milliseconds.

    `founded` is the number of groups with which the cluster was formed, where some were created later.
    """

    format: int
    name: str
    cluster: str
    node: str
    version: str
    created_ms: _Number
    encrypted: bool
    groups: tuple[GroupImage, ...]
    founded: _Number | msgspec.UnsetType = msgspec.UNSET

    @property
    def founded_groups(self) -> int:
        """The number of groups among which the slots were divided at first."""
        return self.founded or len(self.groups)

    @property
    def bytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.bytes for group in self.groups for part in group.parts)

    @property
    def keys(self) -> int:
        """Rows of all groups."""
        return sum(group.keys for group in self.groups)

    @property
    def place(self) -> str:
        """Where it stands, in words: the index of each group, if they are few."""
        first = self.groups[0]
        if len(self.groups) == 1:
            return f"index {first.index}, revision {first.revision}"
        if len(self.groups) > GROUPS_NAMED:
            return f"{len(self.groups)} groups, group {first.group} index {first.index}"
        return ", ".join(f"group {group.group} index {group.index}" for group in self.groups)


class _Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    image: Manifest
    sha256: str
    mac: str = ""


def render(manifest: Manifest, key: BackupKey | None) -> bytes:
    """The content of the file."""
    body = msgspec.json.encode(manifest)
    signed = _Signed(manifest, hashlib.sha256(body).hexdigest(), "" if key is None else key.mac(body))
    return msgspec.json.format(msgspec.json.encode(signed), indent=2) + b"\n"


def write(folder: Path, manifest: Manifest, key: BackupKey | None) -> None:
    """Write the manifest of the image in `folder`, durably. Raises `BackupError`."""
    replace_file(folder / MANIFEST_FILE, render(manifest, key), durable=True)


def read(folder: Path, key: BackupKey | None) -> Manifest:
    """The manifest of the image in `folder`, verified as far as possible without or with `key`.

    Raises `DamagedBackup`, `WrongKey` if `key` is another one, and `BackupError` for a newer format.
    """
    signed, content, place = _signed(folder)
    manifest = signed.image
    body = msgspec.json.encode(manifest)
    if hashlib.sha256(body).hexdigest() != signed.sha256:
        raise DamagedBackup(place, "its checksum does not match")
    if manifest.encrypted != bool(signed.mac):
        raise DamagedBackup(place, "it is encrypted and has no authentication code, or the reverse")
    if key is not None and not manifest.encrypted:
        raise WrongKey(f"{place}: the image is not encrypted: leave out the key")
    if key is not None and not hmac.compare_digest(key.mac(body), signed.mac):
        raise WrongKey(f"{place}: the image was encrypted with another key")
    if content != msgspec.json.format(msgspec.json.encode(signed), indent=2) + b"\n":
        raise DamagedBackup(place, "it is not as it was written")
    for group in manifest.groups:
        try:
            fault = group.checkpoint.base.configuration.fault()
        except ValueError as error:
            fault = str(error)
        if fault is not None:
            raise DamagedBackup(place, f"group {group.group}: {fault}")
    return manifest


def _signed(folder: Path) -> tuple[_Signed, bytes, Path]:
    place = folder / MANIFEST_FILE
    try:
        with place.open("rb") as file:
            content = file.read(MANIFEST_BYTES_MAX + 1)
    except FileNotFoundError:
        raise DamagedBackup(place, "it is missing") from None
    except OSError as error:
        raise explain(place, error) from error
    try:
        version = msgspec.json.decode(content, type=_AnyFormat).image.format
        if version > FORMAT:
            raise BackupError(f"{place}: format {version} is of a newer kraft; this one knows up to {FORMAT}")
        return msgspec.json.decode(content, type=_Signed), content, place
    except (msgspec.DecodeError, ValueError) as error:
        raise DamagedBackup(place, f"it is not a manifest ({error})") from None


class _Format(msgspec.Struct, frozen=True):
    format: int


class _AnyFormat(msgspec.Struct, frozen=True):
    image: _Format
