"""A backup that is restored at the first start of a node, as its configuration says (`restore.source`)."""

import secrets
from pathlib import Path

from kraft.backup.backup_key import BackupKey
from kraft.backup.errors import BackupError
from kraft.config import Config
from kraft.host.membership.formation import cluster_id
from kraft.process.failure import CannotStart
from kraft.storage.directory import RESTORING_FILE
from kraft.storage.errors import StorageError
from kraft.storage.log.files import LOG_FILE
from kraft.storage.offline.restoration import founders_of, open_backup, restore
from kraft.telemetry.telemetry import Telemetry

LEFT_OVER = "the node has data: remove restore.source, which would restore again if the directory were lost"


def restore_first(config: Config, telemetry: Telemetry) -> None:
    """Restore the backup that is configured, unless the node has data. Raises CannotStart.

    A restore that was interrupted is repeated.
    """
    wanted, data = config.restore, Path(config.node.data)
    if wanted.source is None:
        return
    if (data / LOG_FILE).exists() and not (data / RESTORING_FILE).exists():
        telemetry.events.log("restore_option_ignored", reason=LEFT_OVER)
        return
    members = list(config.cluster.members.items()) or [(config.node.id, config.peer.advertise)]
    try:
        backup = open_backup(wanted.source, wanted.at, BackupKey.read(wanted.key_file))
        founders = founders_of(members, wanted.token or secrets.token_hex(8), backup.manifest)
        identity, groups = restore(backup, str(data), config.node.id, founders, cluster_id)
    except (BackupError, StorageError) as error:
        raise CannotStart(f"restore.source: {error}") from None
    telemetry.events.log(
        "backup_restored",
        image=str(backup.folder),
        cluster=identity.cluster,
        indexes=[group.index for group in groups],
        keys=sum(group.keys for group in groups),
    )
