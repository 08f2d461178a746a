"""Plants each mistake of `transaction_mutations` and `move_mutations`, and reports what finds it.

    python -m tests.kv.transaction_mutants                 # all: the tables of docs/design
    python -m tests.kv.transaction_mutants --only "mark"   # those whose names contain this

Each is planted in the memory of a process of its own, as in `tests.simulation.mutants`. The test that a table
names is tried first.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.kv.move_mutations import MOVE_MUTATIONS, MOVER_MUTATIONS
from tests.kv.transaction_mutations import TRANSACTION_MUTATIONS, TransactionMutation
from tests.simulation.mutants import Planter, failed_test

ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 300
SCOPES: tuple[dict[str, Any], ...] = ({}, {"ordered": True}, {"others": True}, {"attempts": 2})


def search(planted: TransactionMutation) -> str:
    """Plant the mistake in this process. Returns what found it, "" if nothing did."""
    sys.meta_path.insert(0, Planter(planted.mutation))
    if planted.test:
        return failed_test(planted.test, documented().get(planted.mutation.name, ""))
    from tests.kv.move_scope import MoveScope
    from tests.kv.once_scope import OnceScope
    from tests.kv.transaction_scope import Scope, Violation

    searches: list[Any] = [Scope(**scope) for scope in SCOPES]
    if planted.moves is not None:
        searches = [MoveScope(**planted.moves)]
    elif planted.once:
        searches = [OnceScope()]
    for scope in searches:
        try:
            scope.explore()
        except (Violation, LookupError) as error:
            return str(error).splitlines()[0] if isinstance(error, Violation) else type(error).__name__
    return ""


def documented() -> dict[str, str]:
    """The test that found each mistake last, by its name: the tables in docs/design."""
    pages = [(ROOT / "docs/design" / name).read_text() for name in ("transactions.md", "slots.md")]
    return dict(re.findall(r"^\| (.+?) \| `[\w/]+\.py` \| `(test_\w+)` \|$", "\n".join(pages), re.MULTILINE))


def find(planted: TransactionMutation) -> str:
    """What finds the mistake, in a separate process. Raises RuntimeError if that ends otherwise."""
    command = [sys.executable, "-m", "tests.kv.transaction_mutants", "--search", planted.mutation.name]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_MAX)
    if ended.returncode:
        raise RuntimeError(ended.stderr)
    found: str = json.loads(ended.stdout.splitlines()[-1])
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--search", default="")
    options = parser.parse_args()
    for planted in (*TRANSACTION_MUTATIONS, *MOVE_MUTATIONS, *MOVER_MUTATIONS):
        name = planted.mutation.name
        if options.search == name:
            sys.stdout.write(json.dumps(search(planted)) + "\n")
        elif not options.search and options.only in name:
            file = planted.mutation.file.removeprefix("kraft/")
            sys.stdout.write(f"| {name} | `{file}` | {short(find(planted))} |\n")
            sys.stdout.flush()


def short(found: str) -> str:
    """What found it, for the table."""
    return f"`{found}`" if found.startswith("test_") else found or "**nothing**"


if __name__ == "__main__":
    main()
