"""structlog without rich, which it would load for tracebacks that no node prints: a tenth of a node's start.

Modules that log take it from here. A program that has loaded rich before, as `kraft doctor`, keeps it.
"""

import sys

_hidden = "rich" not in sys.modules
if _hidden:
    sys.modules["rich"] = None  # type: ignore[assignment]  # to import it is an ImportError now
try:
    import structlog
    from structlog.typing import FilteringBoundLogger, Processor
finally:
    if _hidden:
        del sys.modules["rich"]

__all__ = ["FilteringBoundLogger", "Processor", "structlog"]
