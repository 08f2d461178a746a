"""The types of values: what the keyspace, state files and TYPE ask of each."""

from typing import Any

from kraft.kv.values import STRING, TYPES, type_of
from kraft.kv.values.value_type import ValueType


def test_a_string_is_bytes():
    kind: ValueType[Any] = type_of(b"abc")
    assert kind is STRING
    assert (kind.kind, kind.name) == (0, "string")
    assert (kind.size(b"abc"), kind.rows(b"abc")) == (3, (b"abc",))


def test_kinds_and_names_are_unique():
    assert (
        len({kind.kind for kind in TYPES.values()})
        == len({kind.name for kind in TYPES.values()})
        == len(TYPES)
    )
