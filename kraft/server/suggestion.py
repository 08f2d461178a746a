"""What somebody who mistyped a command may have meant."""

from collections.abc import Iterable


def closest(word: str, names: Iterable[str]) -> str:
    """The only name that is one slip of the finger away from `word`, in its capitals; '' if there is none.

    A slip leaves out, adds or changes one letter after the first, or swaps two neighbours. The first letter
    tells Redis' families apart: HSET and LSET are no mistyped MSET, and SSCAN is no SCAN.
    """
    word = word.lower()
    near = range(len(word) - 1, len(word) + 2)
    found = [name for name in names if len(name) in near and _one_slip(word, name.lower())]
    return found[0].upper() if len(found) == 1 else ""


def _one_slip(word: str, name: str) -> bool:
    if min(len(word), len(name)) < 2 or name[0] not in word[:2] or word[1:] == name:
        return False
    start = 0
    while word[start : start + 1] == name[start : start + 1] != "":
        start += 1
    end = 0
    while end < min(len(word), len(name)) - start and word[-1 - end] == name[-1 - end]:
        end += 1
    typed, meant = word[start : len(word) - end], name[start : len(name) - end]
    return (len(typed) == 2 and typed == meant[::-1]) or (start > 0 and max(len(typed), len(meant)) == 1)
