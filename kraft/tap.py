"""The entry point of `twistd kraft`: options and service of one node.

The only module that obtains the reactor; all others are given it, or a clock, as an argument.
"""

from pathlib import Path
from typing import Any, cast

from twisted.application.service import Service

from kraft.process.clock import steady_seconds
from kraft.process.log_file import open_log_file
from kraft.process.options import Options
from kraft.process.service import NodeService
from kraft.process.signals import ignore_strays

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> Service:
    """The service that twistd runs. Called before twistd may daemonise: opens nothing but a log file."""
    from twisted.internet import reactor

    ignore_strays()
    cast(Any, reactor).seconds = steady_seconds
    log_file = open_log_file(options.parent)
    path = str(Path(options["config"]).absolute()) if options["config"] else None
    return NodeService(options.node, path, cast(Any, reactor), log_file, options.pid_file)
