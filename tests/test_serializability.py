"""The checker finds each of Adya's anomalies, and nothing in histories that are in order."""

import pytest

from tests.serializability import (
    APPEND,
    DONE,
    INFINITY,
    NOT_DONE,
    READ,
    UNKNOWN,
    Attempt,
    NotSerializable,
    check,
)


def done(name, called, returned, *operations):
    return Attempt(name, DONE, called, returned, operations)


def test_an_order_explains_it():
    attempts = [
        done("1", 0, 9, (APPEND, "x", "a"), (READ, "x", ["a"])),
        done("2", 0, 9, (READ, "x", ["a"]), (APPEND, "y", "b"), (APPEND, "y", "c")),
        done("3", 0, 9, (READ, "x", []), (READ, "y", [])),
        Attempt("4", UNKNOWN, 0, INFINITY, [(APPEND, "x", "d")]),
        Attempt("5", UNKNOWN, 0, INFINITY, [(APPEND, "x", "e")]),
        Attempt("6", NOT_DONE, 0, 9, [(APPEND, "x", "f")]),
        done("7", 10, 11, (READ, "x", ["a", "d"]), (READ, "y", ["b", "c"])),
    ]
    assert check(attempts, {"x": ["a", "d"], "y": ["b", "c"]}) == 5


WRITERS = [
    done("1", 0, 9, (APPEND, "x", "a"), (APPEND, "y", "b")),
    done("2", 0, 9, (APPEND, "x", "c"), (APPEND, "y", "d")),
]
BOTH = {"x": ["a", "c"], "y": ["b", "d"]}


@pytest.mark.parametrize(
    ("attempts", "lists", "why"),
    [
        (WRITERS, {"x": ["a", "c"], "y": ["d", "b"]}, "cycle"),
        (WRITERS, {"x": ["a", "c"], "y": ["b"]}, "in part"),
        (WRITERS[:1], {"x": [], "y": []}, "is lost"),
        ([Attempt("1", NOT_DONE, 0, 9, [(APPEND, "x", "a")])], {"x": ["a"]}, "was not done"),
        (WRITERS[:1], {"x": ["a", "a"], "y": ["b"]}, "twice"),
        ([], {"x": ["a"]}, "never appended"),
        ([*WRITERS, done("3", 0, 9, (READ, "x", ["c"]))], BOTH, "not a beginning"),
        ([*WRITERS, done("3", 0, 9, (READ, "x", ["a"]), (READ, "y", []))], BOTH, "cycle"),
        ([*WRITERS, done("3", 10, 11, (READ, "x", ["a"]))], BOTH, "cycle"),
        (
            [
                done("1", 0, 9, (READ, "x", []), (APPEND, "y", "b")),
                done("2", 0, 9, (READ, "y", []), (APPEND, "x", "a")),
            ],
            {"x": ["a"], "y": ["b"]},
            "cycle",
        ),
        ([done("1", 0, 9, (APPEND, "x", "a"), (READ, "x", []))], {"x": ["a"]}, "own"),
        (
            [done("1", 0, 9, (APPEND, "x", "a"), (APPEND, "x", "b")), done("2", 0, 9, (APPEND, "x", "c"))],
            {"x": ["a", "c", "b"]},
            "between",
        ),
    ],
    ids=[
        "G0", "partial", "lost", "aborted write", "twice", "unknown", "no prefix", "G-single", "stale read",
        "G2 write skew", "own write", "between",
    ],
)  # fmt: skip
def test_what_no_order_explains(attempts, lists, why):
    with pytest.raises(NotSerializable, match=why):
        check(attempts, lists)
