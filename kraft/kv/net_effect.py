"""What a script did, in fewer commands than it called: a key that it changed more than once is logged once.

Rate limiters count and set an expiry, sessions write and set one. The leader knows what the key holds after
both, and one SET with that tells every replica the same. Whatever the script has read is watched by the
logged command, so the key is what it was when the script began.
"""

from collections.abc import Sequence

from kraft.kv import commands as kv
from kraft.kv.commands import Change, Condition, Expiry
from kraft.kv.overlay import Overlay
from kraft.kv.record import Record

STEPS_MAX = 64  # that are looked at
VALUE_BYTES_MAX = 128  # of a value that is logged in place of what was done with it, which may be shorter

_OF_KEYS = frozenset(
    {
        *(kv.Put, kv.Set, kv.SetIf, kv.SetMany, kv.SetManyIf, kv.SetRange, kv.AppendValue),
        *(kv.Increment, kv.IncrementFloat, kv.CompareAndSet, kv.GetExpire, kv.Expire, kv.ClearExpiry),
        *(kv.SetBit, kv.BitField),
    }
)
"""Commands that change the values and expiries of keys, and nothing else."""


def net_effect(steps: Sequence[Change], overlay: Overlay) -> tuple[Change, ...]:
    """The `steps` that have been applied to `overlay` since `hold`, or fewer commands with the same effect.

    Where a key is gone all steps are needed: who watches a missing key has to learn that it came and went.
    """
    if not 1 < len(steps) <= STEPS_MAX or not _OF_KEYS.issuperset(map(type, steps)):
        return tuple(steps)
    changes = overlay.changes
    if len(changes) >= len(steps):
        return tuple(steps)
    for record in changes.values():
        if record is None or len(record.value) > VALUE_BYTES_MAX:
            return tuple(steps)
    return tuple([effect(key, record) for key, record in changes.items()])


def effect(key: bytes, record: Record | None) -> Change:
    """The command after which the key holds what the record does; None is a missing one."""
    if record is None:
        return kv.Delete((key,))
    if not record.expires:
        return kv.Put(key, record.value)
    return kv.Set(key, record.value, _ALWAYS, _ABSOLUTE, record.expires)


_ALWAYS, _ABSOLUTE = int(Condition.ALWAYS), int(Expiry.ABSOLUTE)
