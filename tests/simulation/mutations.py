"""One-line mistakes, by what they are in. The simulator finds each within a number of seeds, or its test."""

from tests.simulation.absent_mutations import ABSENT_MUTATIONS
from tests.simulation.backup_mutations import BACKUP_MUTATIONS
from tests.simulation.beat_mutations import BEAT_MUTATIONS
from tests.simulation.consensus_mutations import CONSENSUS_MUTATIONS
from tests.simulation.cross_group_mutations import CROSS_GROUP_MUTATIONS
from tests.simulation.group_mutations import GROUP_MUTATIONS
from tests.simulation.hibernation_mutations import HIBERNATION_MUTATIONS
from tests.simulation.host_mutations import HOST_MUTATIONS
from tests.simulation.machine_mutations import MACHINE_MUTATIONS
from tests.simulation.move_mutations import MOVE_MUTATIONS
from tests.simulation.placement_mutations import PLACEMENT_MUTATIONS
from tests.simulation.replica_mutations import REPLICA_MUTATIONS
from tests.simulation.script_mutations import SCRIPT_MUTATIONS
from tests.simulation.storage_mutations import STORAGE_MUTATIONS
from tests.simulation.tick_mutations import TICK_MUTATIONS

MUTATIONS = (
    *CONSENSUS_MUTATIONS,
    *HOST_MUTATIONS,
    *MACHINE_MUTATIONS,
    *GROUP_MUTATIONS,
    *BEAT_MUTATIONS,
    *HIBERNATION_MUTATIONS,
    *TICK_MUTATIONS,
    *CROSS_GROUP_MUTATIONS,
    *MOVE_MUTATIONS,
    *REPLICA_MUTATIONS,
    *SCRIPT_MUTATIONS,
    *STORAGE_MUTATIONS,
    *ABSENT_MUTATIONS,
    *PLACEMENT_MUTATIONS,
    *BACKUP_MUTATIONS,
)
