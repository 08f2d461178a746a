"""A disk in memory that loses data: writes that were not synced survive a power cut wholly, partly or torn.

Real SQLite runs on it through an apsw VFS; the high-water file through `SimulatedDirectory`. A file's name
is durable at once, as SQLite's own directory syncs cannot be seen from a VFS.
"""

import random

import apsw

SECTOR = 512


class PowerCut(Exception):
    """The machine is off."""


class SimulatedFile:
    def __init__(self):
        self.now = bytearray()
        self.durable = b""
        self.pending: list[tuple[int, bytes] | int] = []  # (offset, data), or the size of a truncation

    def write(self, offset, data):
        _write(self.now, offset, data)
        self.pending.append((offset, bytes(data)))

    def truncate(self, size):
        del self.now[size:]
        self.pending.append(size)

    def sync(self):
        self.durable = bytes(self.now)
        self.pending.clear()

    def cut(self, dice):
        """Go back to what is durable, with a part of what is not."""
        content = bytearray(self.durable)
        pieces: list[tuple[int, bytes] | int] = []
        for change in self.pending:
            if isinstance(change, int):
                pieces.append(change)
            else:
                offset, data = change
                pieces += [(offset + at, data[at : at + SECTOR]) for at in range(0, len(data), SECTOR)]
        for change in _survivors(pieces, dice):
            if isinstance(change, int):
                del content[change:]
            else:
                _write(content, *change)
        self.now, self.durable, self.pending = content, bytes(content), []


def _write(content, offset, data):
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _survivors(pieces, dice):
    fate = dice.choice(["none", "prefix", "half", "all"])
    if fate == "prefix":
        return pieces[: dice.randrange(len(pieces) + 1)]
    if fate == "half":
        return dice.sample(pieces, len(pieces) // 2)
    return pieces if fate == "all" else []


class SimulatedDisk(apsw.VFS):
    """Counts writes and syncs; at number `cut_at` there is a power cut, before or after its effect.

    That is told once, and what is done afterwards is lost without a word: SQLite itself tries to tidy up
    within the call that failed, where a second exception would have nowhere to go.
    """

    def __init__(self, name, seed):
        self.name = name
        self.dice = random.Random(seed)
        self.files = {}
        self.steps = 0
        self.cut_at = None
        super().__init__(name, "", maxpathname=100)

    @property
    def off(self):
        """There was a power cut; SQLite may have turned it into another error."""
        return self.cut_at is not None and self.steps >= self.cut_at

    def change(self, effect):
        """Do `effect` to a file, unless there is a power cut."""
        if self.off:
            return
        self.steps += 1
        if self.steps != self.cut_at or self.dice.random() < 0.5:
            effect()
        if self.off:
            raise PowerCut

    def power_on(self):
        for file in self.files.values():
            file.cut(self.dice)
        self.cut_at = None

    def xOpen(self, name, flags):
        flags[1] = flags[0]
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return OpenFile(self, self.files.setdefault(path, SimulatedFile()))

    def xDelete(self, path, sync):
        self.remove(path)

    def remove(self, path):
        """Names are durable at once, and so is their removal; not without power."""
        if not self.off:
            self.files.pop(path, None)

    def xAccess(self, path, flags):
        return path in self.files

    def xFullPathname(self, path):
        return path

    def xRandomness(self, count):
        return self.dice.randbytes(count)

    def xCurrentTimeInt64(self):
        return 210_866_760_000_000

    def xSleep(self, microseconds):
        return microseconds


class OpenFile:
    """One open file, as SQLite uses it."""

    def __init__(self, disk, file):
        self._disk, self._file = disk, file

    def xRead(self, count, offset):
        return bytes(self._file.now[offset : offset + count])

    def xWrite(self, data, offset):
        self._disk.change(lambda: self._file.write(offset, data))

    def xTruncate(self, size):
        self._disk.change(lambda: self._file.truncate(size))

    def xSync(self, flags):
        self._disk.change(self._file.sync)

    def xFileSize(self):
        return len(self._file.now)

    def xLock(self, level):
        pass

    def xUnlock(self, level):
        pass

    def xCheckReservedLock(self):
        return False

    def xFileControl(self, op, pointer):
        return False

    def xSectorSize(self):
        return SECTOR

    def xDeviceCharacteristics(self):
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xClose(self):
        pass


class SimulatedDirectory:
    """`storage.ports.Directory` on the same disk."""

    def __init__(self, disk):
        self._disk = disk

    def path(self, name):
        return name

    def exists(self, name):
        return name in self._disk.files

    def size(self, name):
        return len(self._disk.files[name].now) if name in self._disk.files else 0

    def names(self):
        return sorted(self._disk.files)

    def sync(self):
        pass

    def remove(self, name):
        self._disk.remove(name)

    def rename(self, name, to):
        self._disk.files[to] = self._disk.files.pop(name)

    def record_file(self, name):
        return SimulatedRecordFile(self._disk, self._disk.files.setdefault(name, SimulatedFile()))


class SimulatedRecordFile:
    def __init__(self, disk, file):
        self._disk, self._file = disk, file

    def read(self):
        return bytes(self._file.now)

    def write(self, offset, data):
        self._disk.change(lambda: self._file.write(offset, data))

    def sync(self):
        self._disk.change(self._file.sync)

    def close(self):
        pass
