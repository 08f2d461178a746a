"""Loading a state file at a start: its rows are verified, and it is compared with the log of its group."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from kraft.kv.checkpoint import Checkpoint
from kraft.kv.keyspace import Keyspace
from kraft.node.values import Loaded
from kraft.raft.ports import Restored
from kraft.storage.errors import DamagedLog, DamagedState, NewerVersion, UnknownVersion
from kraft.storage.log.replicas import ReplicaRow
from kraft.storage.ports import LoadReport
from kraft.storage.state.database import DamagedStateFile, StateDatabase
from kraft.storage.state.folder import StateFolder

LoadedState = tuple[StateDatabase, Checkpoint, Keyspace]


def load(
    folder: StateFolder, group: int, restored: Restored, replica: ReplicaRow, report: LoadReport | None
) -> LoadedState | None:
    """The group's state file, which `replica` names, opened and loaded; None when there is none.

    A file that is missing or damaged is left out, and removed, if the log holds everything. Raises
    `StorageError` if it does not, and OSError.
    """
    number, place = replica.state, folder.place(group, replica.state)
    whole = replica.base.index == 0  # the log alone holds everything
    if not number or not folder.exists(group, number):
        if not whole:
            raise DamagedState(place, f"it is missing, and the log begins at {replica.base.index + 1}")
        folder.remove(group, number)
        return None
    database = None
    try:
        database = folder.open(group, number)
        keyspace = database.load(report and partial(report, group))
        checkpoint = database.checkpoint
        if checkpoint is None:
            raise DamagedStateFile("it holds no checkpoint")
        if wrong := _mismatch(checkpoint, restored):
            raise DamagedState(place, wrong)
    except NewerVersion:
        raise  # the file is in order: neither remove it nor call it damaged
    except (DamagedStateFile, DamagedLog, UnknownVersion) as error:
        if database is not None:
            database.abandon()
        if not whole:
            raise DamagedState(place, _damage_text(error)) from error
        folder.remove(group, number)
        return None
    except BaseException:
        if database is not None:
            database.abandon()
        raise
    return database, checkpoint, keyspace


def with_checkpoints(loaded: Loaded, checkpoints: Mapping[int, tuple[Checkpoint, Keyspace]]) -> Loaded:
    """What the log held, with the checkpoints.

    The index of a checkpoint was committed, whether or not a row of the log says so.
    """
    groups = {
        group: replace(restored, commit=max(restored.commit, checkpoints[group][0].base.index))
        if group in checkpoints
        else restored
        for group, restored in loaded.groups.items()
    }
    return replace(loaded, checkpoints=dict(checkpoints), groups=groups)


def _mismatch(checkpoint: Checkpoint, restored: Restored) -> str:
    """Why the checkpoint cannot belong to this log; '' when it can."""
    index, term = checkpoint.base.index, checkpoint.base.term
    if index < restored.base.index:
        return f"it stands at {index}, but the log begins at {restored.first_index}"
    if index > restored.last_index:
        return f"it stands at {index}, but the log ends at {restored.last_index}"
    logged = restored.base.term
    for first, run in restored.terms:
        if first <= index:
            logged = run
    if logged != term:
        return f"it stands at an entry of term {term}, but the log has one of term {logged} at {index}"
    return ""


def _damage_text(error: Exception) -> str:
    return error.damage if isinstance(error, DamagedLog) else str(error)
