"""The entry point of `twistd kraft`: options and service of one node.

The only module that obtains the reactor; all others are given it, or a clock, as an argument.
"""

import sys
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from kraft.process.clock import steady_seconds
from kraft.process.log_file import open_log_file
from kraft.process.options import Options
from kraft.process.service import NodeService
from kraft.process.signals import ignore_strays

__all__ = ["Options", "makeService"]

_log = Logger()


def makeService(options: Options) -> Service:
    """The service that twistd runs. Called before twistd may daemonise: opens nothing but a log file."""
    ignore_strays()
    reactor = _obtain_reactor()
    reactor.seconds = steady_seconds
    log_file = open_log_file(options.parent)
    path = str(Path(options["config"]).absolute()) if options["config"] else None
    return NodeService(options.node, path, reactor, log_file, options.pid_file)


def _obtain_reactor() -> Any:
    """The reactor that `twistd --reactor` has installed, else kraft's, else Twisted's default."""
    if "twisted.internet.reactor" not in sys.modules:
        try:
            from kraft.process.reactor import install

            install()
        except ImportError as error:  # a system without epoll, or a Twisted that is too new
            _log.warn("this node runs on Twisted's default reactor: {reason}", reason=str(error))
    from twisted.internet import reactor

    return reactor
