"""What started the process of a node: it decides which commands help when the node is down."""

from dataclasses import dataclass

SYSTEMD, DOCKER, PODMAN, KUBERNETES, CONTAINER, DEMO, HAND = KINDS = (
    "systemd", "docker", "podman", "kubernetes", "container", "demo", "hand",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Supervisor:
    """What started a node.

    kind: one of KINDS, `container` for one of an unknown kind and `hand` for a person or anything else; ''
        from a program that does not report it.
    name: the systemd unit, the id of the container, the pod, or the directory of the demo; '' if unknown.
    program: the path of `twistd`; config_file: that of the configuration file, '' without one.
    """

    kind: str = ""
    name: str = ""
    program: str = ""
    config_file: str = ""
