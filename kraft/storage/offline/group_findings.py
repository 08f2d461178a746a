"""What the log of one group holds, for a recovery."""

from collections.abc import Iterable
from dataclasses import dataclass

from kraft.kv import commands
from kraft.kv.errors import UnknownCommand
from kraft.node.values import Loaded
from kraft.raft.membership.configuration import Configuration
from kraft.raft.messages import Entry, EntryKind
from kraft.storage.offline.survivor import RecoveryRefused, Survivor


@dataclass(frozen=True, slots=True)
class GroupFindings:
    """One group's log as it was found, in the directory `path` of `node`.

    `term` is the highest term seen, `last_term` that of the last entry, `last_stamp` its time in Unix ms (0:
    none). Entries up to `committed` are known to be committed; the `uncommitted` entries after them hold
    `commands` client commands. The state is saved up to `checkpoint` (0: not at all), in state file
    `number`. `fenced`: that state is known to differ from the other replicas'. `left_out` is the directory
    ('': none) whose log ends later, with the entry `left_out_last` (term, index), and whose state is known
    to differ.
    """

    group: int
    first_index: int
    last_index: int
    last_term: int
    last_stamp: int
    term: int
    committed: int
    commands: int
    checkpoint: int
    number: int
    fenced: bool
    configuration: Configuration
    node: str
    path: str
    left_out: str = ""
    left_out_last: tuple[int, int] = (0, 0)

    @property
    def uncommitted(self) -> int:
        """The number of entries that are not known to be committed."""
        return self.last_index - self.committed


def last_entry(survivor: Survivor, group: int) -> tuple[int, int]:
    """The term and index of the last entry that a survivor has of a group, (0, 0) for none."""
    restored = survivor.loaded.groups.get(group)
    if restored is None or not restored.last_index:
        return 0, 0
    return restored.terms[-1][1] if restored.terms else restored.base.term, restored.last_index


def findings_of(survivor: Survivor, group: int, loaded: Loaded) -> GroupFindings:
    """What `survivor` holds of a group; `loaded` has its state."""
    restored, row = loaded.groups[group], survivor.rows.get(group)
    checkpoint = loaded.checkpoints.get(group)
    later = [entry for entry in restored.tail if entry.index > restored.commit]
    return GroupFindings(
        group=group,
        first_index=restored.first_index,
        last_index=restored.last_index,
        last_term=last_entry(survivor, group)[0],
        last_stamp=restored.last_stamp,
        term=restored.hard_state.term,
        committed=restored.commit,
        commands=_count_commands(later),
        checkpoint=0 if checkpoint is None else checkpoint[0].base.index,
        number=0 if row is None else row.state,
        fenced=group in loaded.fenced,
        configuration=restored.configurations[-1][1]
        if restored.configurations
        else restored.base.configuration,
        node=loaded.identity.id,
        path=survivor.path,
    )


def _count_commands(entries: Iterable[Entry]) -> int:
    count = 0
    for entry in entries:
        if entry.kind == EntryKind.COMMANDS:
            try:
                count += len(commands.decode(entry.data))
            except UnknownCommand:
                raise RecoveryRefused(
                    f"entry {entry.index} holds commands that this version of kraft does not know:"
                    " use the newer kraft that wrote it"
                ) from None
    return count
