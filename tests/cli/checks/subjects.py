"""Nodes for `kraft doctor` to look at, and shorthands for what it finds."""

from kraft.storage.directory import RealDirectory
from kraft.storage.log.database import LogDatabase
from kraft.storage.ports import StorageSettings

SECTIONS = """
node: {{id: K1, data: {data}}}
peer: {{listen: "tcp:0:interface=127.0.0.1", advertise: "127.0.0.1:1"}}
client: {{listen: "tcp:0:interface=127.0.0.1", advertise: "127.0.0.1:2"}}
http: {{listen: ""}}
"""


def opened(path, node="K1"):
    return LogDatabase(
        RealDirectory(str(path)), node_id=node, incarnation=lambda: "1" * 32, settings=StorageSettings()
    )


def levels(findings):
    return [finding.level for finding in findings]


def first(findings):
    return next(iter(findings))


def only(findings):
    [found] = findings
    return found


# -- whom it looks at ---------------------------------------------------------------------------------

HTTP = 'http: {listen: "tcp:21:interface=0.0.0.0", advertise: "h:21"}\n'
