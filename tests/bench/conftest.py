"""The benchmark is not installed; its modules are imported from the checkout."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(monkeypatch):
    """`bench("loads")`: a module of the benchmark. Last on the path: kraft stays as it is."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"bench.{name}")

    return module
