"""The real storage as a medium: `LogDatabase` and `StateFiles` on SQLite, on a file system in memory.

A power cut takes away what was not synced: wholly, partly, torn or out of order. The file system can be full,
fail to sync or to read, and have bits flipped. A `DurableState` is kept beside it as a shadow: what the
database reported as durable is written there too. At every start the database must hold exactly that, with or
without the one transaction that was under way at the end.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from random import Random
from typing import Any

import apsw

from kraft.kv.checkpoint import Capture, Checkpoint
from kraft.node.values import Loaded, Received, Transaction
from kraft.raft.messages import Entry
from kraft.raft.ready import Persist
from kraft.storage.damage import refuse_remembered_damage, remember_damage
from kraft.storage.errors import StorageError
from kraft.storage.log.database import LogDatabase
from kraft.storage.ports import StorageSettings
from kraft.storage.state.files import StateFiles
from tests.simulation.durable_state import DurableState
from tests.simulation.violation import demand
from tests.storage.simulated import (
    OpenFile,
    PowerCut,
    SimulatedDirectory,
    SimulatedDisk,
    SimulatedFile,
)

SETTINGS = StorageSettings(wal_bytes=40_000, wal_bytes_max=200_000, tail_bytes=1_000, free_bytes=16_384)
STEPS = (8, 8, 60)  # writes and syncs of a commit, or a large one, or a checkpoint
_numbers = count()  # names of file systems: one process may have many


class FaultyDisk(SimulatedDisk):
    """A simulated disk that can also be full, or fail."""

    def __init__(self, dice: Random) -> None:
        super().__init__(f"simulation-{next(_numbers)}", 0)
        self.dice = dice
        self.full = False
        self.fail_sync = False
        self.fail_read = False

    def xOpen(self, name: Any, flags: Any) -> Any:
        flags[1] = flags[0]
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return FaultyFile(self, self.files.setdefault(path, SimulatedFile()))


class FaultyFile(OpenFile):
    def xRead(self, amount: int, offset: int) -> bytes:
        if self._disk.fail_read:
            raise apsw.exception_for(apsw.SQLITE_IOERR_READ)
        return super().xRead(amount, offset)  # type: ignore[no-any-return]

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._disk.full and offset + len(data) > len(self._file.now):
            raise apsw.exception_for(apsw.SQLITE_FULL)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if self._disk.fail_sync:
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)


class RealStorage:
    """One directory: a medium of `disk.Disk`. `durable` is its shadow; `load` raises `StorageError`."""

    def __init__(self, durable: DurableState, dice: Random) -> None:
        self.durable = durable
        self.files = FaultyDisk(dice)
        self.power_lost = False
        self._flipped = False  # a bit, since the last start
        self._dice = dice
        self._database: LogDatabase | None = None
        self._states: StateFiles | None = None
        self._in_doubt: Transaction | None = None  # under way when the process ended
        self._checkpoints: dict[int, int] = {}  # index of the last durable one, by group

    @property
    def full(self) -> bool:
        return self.files.full

    @full.setter
    def full(self, full: bool) -> None:
        self.files.full = full

    # -- starts and ends

    def load(self) -> Loaded:
        """Open and compare with the shadow."""
        if self.power_lost:
            self.power_lost = False
            self.files.power_on()
        self.files.cut_at = None
        try:
            return self._load()
        except BaseException:
            self.close()
            raise

    def _load(self) -> Loaded:
        identity = self.durable.identity
        directory = SimulatedDirectory(self.files)
        refuse_remembered_damage(directory)
        self._database = LogDatabase(
            directory,
            node_id=identity.id,
            incarnation=lambda: identity.incarnation,
            settings=SETTINGS,
            vfs=self.files.name,
        )
        self._states = StateFiles(
            directory,
            self._database.loaded,
            self._database.replica,
            settings=SETTINGS,
            vfs=self.files.name,
            shared=False,
        )
        loaded = self._states.loaded
        self._compare(loaded)
        return Loaded(
            loaded.identity,
            loaded.groups,
            loaded.checkpoints,
            loaded.fenced,
            loaded.starts,
            loaded.replicas,
        )

    def _compare(self, loaded: Any) -> None:
        """The database holds what it reported as durable, and all or nothing of the write under way."""
        doubt, self._in_doubt = self._in_doubt, None
        flipped, self._flipped = self._flipped, False
        if flipped:
            self._take_back_cuts(loaded)
        wrong = self._difference(loaded)
        if wrong and doubt is not None:
            self.durable.write(doubt)
            wrong = self._difference(loaded)
        demand(not wrong, f"the directory of {self.durable.identity.id} is not as it was left: {wrong}")
        for group, index in self._checkpoints.items():
            checkpoint = loaded.checkpoints.get(group)
            found = checkpoint[0].base.index if checkpoint is not None else 0
            # A damaged file may be removed, or go back by a checkpoint, if the log holds the rest.
            spare = self.durable.group(group).base.index <= found and (flipped or not found)
            demand(found >= index or spare, f"the checkpoint of group {group} at {index} is gone")
        assert self._database is not None
        for group, log in self.durable.groups.items():
            log.state, log.fenced = self._database.replica(group).state, group in loaded.fenced
            self._checkpoints[group] = (
                loaded.checkpoints[group][0].base.index if group in loaded.checkpoints else 0
            )

    def _take_back_cuts(self, loaded: Any) -> None:
        """SQLite drops all frames after a damaged one: if they only cut a log, nothing is lost."""
        assert self._database is not None
        for group, log in self.durable.groups.items():
            restored = loaded.groups.get(group)
            if restored is not None and restored.base.index < log.base.index <= restored.last_index:
                rows = self._database.fetch(group, restored.base.index + 1, log.base.index, 1 << 30)
                if rows[-1].term == log.base.term:
                    log.begin_before(restored.base, rows)

    def _difference(self, loaded: Any) -> str:
        mine, found = self.durable.identity, loaded.identity
        if mine != found:
            return f"identity {found}, not {mine}"
        if dict(loaded.replicas) != self.durable.replicas:
            return f"last replicas {loaded.replicas}, not {self.durable.replicas}"
        assert self._database is not None
        for group, log in self.durable.groups.items():
            restored = loaded.groups.get(group)
            if restored is None:
                if log.entries or log.hard_state.term:
                    return f"no group {group}"
                continue
            if restored.hard_state != log.hard_state:
                return f"{restored.hard_state}, not {log.hard_state}"
            if (restored.base, restored.last_index) != (log.base, log.last_index):
                what = f"log {restored.base.index} to {restored.last_index}"
                return f"{what}, not {log.base.index} to {log.last_index}"
            rows = self._database.fetch(group, log.base.index + 1, log.last_index, 1 << 30)
            if list(rows) != log.entries:
                return "other entries"
        return ""

    def interrupted(self, work: Callable[[], object], dice: Random) -> None:
        """The process ends at some write or sync of `work`, or just after it, with or without a power cut."""
        self.files.cut_at = self.files.steps + dice.randrange(1, dice.choice(STEPS))
        with suppress(PowerCut, StorageError):
            work()

    def remember_damage(self, reason: str) -> None:
        with suppress(PowerCut):
            remember_damage(SimulatedDirectory(self.files), reason)

    def close(self) -> None:
        """The process has ended; half of the times in a power cut."""
        power_lost = self.power_lost or self._dice.random() < 0.5 or self.files.fail_sync
        # The evidence of a flipped bit is not synced: a power cut before the next start may remove it.
        self.power_lost = power_lost and not self._flipped
        self.files.cut_at = self.files.steps  # nothing is written at the end
        for part in (self._states, self._database):
            if part is not None:
                with suppress(PowerCut, StorageError, apsw.Error):
                    part.abandon()
        self._states = self._database = None
        self.files.cut_at = None

    @property
    def off(self) -> bool:
        return bool(self.files.off)

    def cut_soon(self) -> bool:
        """The process ends at one of the next writes or syncs."""
        if self.files.cut_at is None:
            self.files.cut_at = self.files.steps + self._dice.randrange(1, self._dice.choice(STEPS))
        return True

    def mend(self) -> None:
        """From now on nothing fails, and there is no power cut."""
        self.files.fail_sync = self.files.fail_read = False
        if not self.files.off:
            self.files.cut_at = None

    def settle(self) -> None:
        """There was no power cut: what was written is there, synced or not."""
        self.power_lost = False

    def gone(self) -> None:
        """The run is over."""
        self.close()
        self.files.files.clear()
        self.files.unregister()

    # -- what goes wrong

    def flip_bit(self, name: str) -> bool:
        """Flip one bit of a file, while no process runs; False when the file is empty."""
        file = self.files.files.get(name)
        if file is None or not file.now:
            return False
        place = self._dice.randrange(len(file.now))
        file.now[place] ^= 1 << self._dice.randrange(8)
        file.sync()
        self._flipped = True
        return True

    def names(self) -> list[str]:
        return sorted(self.files.files)

    def copy(self) -> dict[str, bytes]:
        """All files as they are."""
        return {name: bytes(file.now) for name, file in self.files.files.items()}

    def put_back(self, copy: dict[str, bytes]) -> None:
        self.files.files.clear()
        for name, content in copy.items():
            file = self.files.files[name] = SimulatedFile()
            file.write(0, content)
            file.sync()
        self._checkpoints.clear()

    # -- the medium

    def commit(self, transaction: Transaction) -> bool:
        assert self._database is not None
        assert self._states is not None
        self._in_doubt = transaction
        durable = self._database.commit([transaction])
        self._in_doubt = None
        if durable:
            self.durable.write(transaction)
            for group, last in transaction.replicas:
                self._checkpoints.pop(group, None)
                if not last.held:
                    self._states.forget(group)
            for group, persist in transaction.writes:
                self._switch(group, persist)
            if self._database.wal_bytes > SETTINGS.wal_bytes:
                self._database.checkpoint_wal()
        return durable

    def _switch(self, group: int, persist: Persist) -> None:
        assert self._states is not None
        if persist.state_file is not None:
            self._checkpoints.pop(group, None)
            self._states.switch(group, persist.state_file)
            checkpoint = self._states.checkpoint(group)
            self._checkpoints[group] = checkpoint.base.index if checkpoint is not None else 0

    def fetch(self, group: int, first: int, last: int, max_bytes: int) -> Sequence[Entry]:
        assert self._database is not None
        return self._database.fetch(group, first, last, max_bytes)

    def fence(self, group: int, fenced: bool) -> bool:
        assert self._database is not None
        return self._database.fence(group, fenced)

    def checkpoint(self, group: int, capture: Capture) -> Checkpoint | None:
        assert self._states is not None
        assert self._database is not None
        checkpoint = self._states.write(group, capture, self._database)
        if checkpoint is not None:
            self._checkpoints[group] = checkpoint.base.index
            while self._states.tidy():
                pass
        return checkpoint

    def open_view(self, group: int) -> Any:
        assert self._states is not None
        return self._states.open_view(group)

    def receive_snapshot(self, group: int, checkpoint: Checkpoint) -> "ArrivingFile | None":
        assert self._states is not None
        receiver = self._states.receive(group, checkpoint)
        return None if receiver is None else ArrivingFile(self._states, group, receiver)


class ArrivingFile:
    def __init__(self, states: StateFiles, group: int, receiver: Any) -> None:
        self._states = states
        self._group = group
        self._receiver = receiver

    def write(self, data: bytes) -> str:
        return self._receiver.write(data)  # type: ignore[no-any-return]

    def finish(self) -> Received | str:
        found = self._receiver.finish()
        return found if isinstance(found, str) else Received(found.number, found.checkpoint, found.keyspace)

    def abandon(self) -> None:
        self._states.discard(self._group, self._receiver)
