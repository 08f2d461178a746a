"""Runs Twisted's own tests of reactors on kraft's reactor; a program, not a module of tests.

`ReactorBuilder` makes each of these tests for all reactors that it knows; here it knows only ours.
"""

import sys
import unittest
from importlib import import_module
from typing import Any

from twisted.internet.test.reactormixins import ReactorBuilder

from kraft.process.reactor import Reactor

MODULES = ("core", "fdset", "socket", "tcp", "threads", "time", "udp", "unix")
LEFT_OUT = {
    "test_logPrefix",  # messages of a protocol that reads have no prefix (`kraft.process.reactor` says so)
    "test_lostFileDescriptor",  # skipped for every reactor of this kind, which Twisted knows by their names
}

if __name__ == "__main__":
    ReactorBuilder._reactors = ["kraft.process.reactor.Reactor"]
    suite = unittest.TestSuite()
    for module in MODULES:
        made: Any
        for made in vars(import_module(f"twisted.internet.test.test_{module}")).values():
            if isinstance(made, type) and issubclass(made, ReactorBuilder) and made.reactorFactory is Reactor:
                case: Any = made
                names = unittest.defaultTestLoader.getTestCaseNames(case)
                suite.addTests(case(name) for name in names if name not in LEFT_OUT)
    result = unittest.TextTestRunner(verbosity=0).run(suite)
    sys.exit(not result.wasSuccessful())
