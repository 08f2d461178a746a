"""The types of values that a key can hold. A new type is one more member of `Value` and one entry of `TYPES`:
mypy then names every place that takes a value for a string.
"""

from typing import Any

from kraft.kv.values.string import StringType
from kraft.kv.values.value_type import ValueType

Value = bytes
STRING = StringType()
TYPES: dict[type, ValueType[Any]] = {bytes: STRING}


def type_of(value: Value) -> ValueType[Any]:
    """The type of a value that a key holds."""
    return TYPES[type(value)]
