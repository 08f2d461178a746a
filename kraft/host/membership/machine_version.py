"""The machine version: what this node supports, what its cluster has in force, and which node is too old.

A version in force never goes back, and every member supports it (`kraft.kv.versions`). Two nodes compare each
other's Hello only after its proof. A peer that is too old is refused its link. A node that is itself too old
ends, because its log would soon hold commands that it cannot apply. Pure: greetings in, decisions out.
"""

from kraft.kv.versions import MACHINE_VERSION, MACHINE_VERSION_MIN
from kraft.peerwire.hello import Hello


class MachineVersion:
    """The versions of one node.

    `supported` is the highest version that the node can apply, `in_force` the one of its cluster. With an
    operator's `bound` it supports no more than that, and is `held` back if its program could do more; 0 for
    no bound. `raising` is the version that this node, as the leader, has logged and not applied yet, else 0.
    """

    def __init__(self, supported: int = MACHINE_VERSION, bound: int = 0) -> None:
        self.supported = min(supported, bound or supported)
        self.held = self.supported < supported
        self.in_force = MACHINE_VERSION_MIN
        self.raising = 0

    def objection(self, hello: Hello) -> str | None:
        """Why this node does not talk to a peer that is too old for the cluster, None when it is not."""
        required = max(self.in_force, self.raising)
        if hello.machine_max >= required:
            return None
        return (
            f"{hello.id} supports machine version {hello.machine_max}, but version {required} is in force in "
            f"the cluster: install a newer kraft on {hello.id}"
        )

    def too_low(self, id_: str, version: int) -> str:
        """What ends a node that supports less than the `version` in force."""
        remedy = "remove cluster.machine_version_max" if self.held else "install a newer kraft"
        return (
            f"{id_} supports machine version {self.supported}, but version {version} is in force in the "
            f"cluster: {remedy} on {id_}"
        )
