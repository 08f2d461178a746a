"""Mistakes in backups and recoveries of nodes that hold a part of the groups (docs/design/placement.md)."""

from functools import partial

from tests.simulation.mutation import Mutation

_plant_log = partial(Mutation, test="tests/backup/test_scattered_logs.py")
_plant_lent = partial(Mutation, test="tests/host/test_lent_logs.py")
_plant_recovery = partial(Mutation, test="tests/storage/test_recovery_from_others.py")

BACKUP_MUTATIONS = (
    _plant_log(
        "an image begins the logs anew that were not resumed yet",
        "kraft/backup/keeper.py",
        "                log.resume()\n",
        "",
        "the moments before it are gone, and nobody hears of it",
    ),
    _plant_log(
        "what a log lacks here is asked of nobody else",
        "kraft/process/backup_source.py",
        "            if entries:\n",
        "            if True:\n",
        "the log has a gap when a replica comes or goes while it is read",
    ),
    _plant_log(
        "a log is read with a part missing",
        "kraft/host/backup/remote_logs.py",
        "if part and size < total:",
        "if False:",
        "an entry that is larger than an answer is never shipped",
    ),
    _plant_lent(
        "a former leader tells of its log",
        "kraft/host/backup/lent_logs.py",
        "group.raft.state.leads_with_commit and ",
        "",
        "it does not know what was committed since, and the log counts as complete",
    ),
    _plant_recovery(
        "the log of the node itself counts",
        "kraft/storage/offline/recovery.py",
        "return last > (0, 0), group not in survivor.loaded.fenced, last, survivor is own",
        "return last > (0, 0), group not in survivor.loaded.fenced, survivor is own, last",
        "writes are lost that another survivor has",
    ),
    _plant_recovery(
        "a replica that differs counts as any other",
        "kraft/storage/offline/recovery.py",
        "return last > (0, 0), group not in survivor.loaded.fenced, last,",
        "return last > (0, 0), last,",
        "wrong data is kept, though a right copy is there",
    ),
    _plant_recovery(
        "a group from another directory has what changed since its checkpoint",
        "kraft/storage/offline/recovery.py",
        "machine.whole(taken.base)",
        "machine.capture(taken.base)",
        "all keys that did not change are lost",
    ),
    _plant_recovery(
        "a replica that the node never had begins without a number",
        "kraft/storage/offline/taken_group.py",
        "if self._held is None or group.configuration.is_retired(own):",
        "if False:",
        "the next start finds a replica that it takes for one that has left",
    ),
    _plant_recovery(
        "a replica that the group has let go of gets the number of before",
        "kraft/storage/offline/taken_group.py",
        "if self._held is None or group.configuration.is_retired(own):",
        "if self._held is None:",
        "the configuration has a member that is retired",
    ),
    _plant_recovery(
        "a new replica is no newer than the one that the node had",
        "kraft/storage/offline/taken_group.py",
        "max(group.term, seen, had.term) + 1",
        "group.term + 1",
        "the next start takes the log for one that has lost its end",
    ),
    _plant_recovery(
        "slots are settled for logs, and not for a state that is written",
        "kraft/storage/offline/taken_group.py",
        "index + len(steps), term, stamp",
        "index, term, stamp",
        "the log says that it stands where steps that the state has are still to come",
    ),
)
