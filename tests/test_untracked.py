"""The collector of garbage does not visit what is untracked, and reference counts free it as ever."""

import gc
import weakref

import pytest

from kraft.untracked import untracked


class Element:
    """Something that says when it is gone."""


@pytest.mark.parametrize("make", [list, tuple, lambda elements: dict(enumerate(elements))])
def test_it_is_not_visited_and_is_freed(make):
    element = Element()
    gone = weakref.ref(element)
    container = make([element])
    assert gc.is_tracked(container)
    assert untracked(container) is container
    del element
    gc.collect()
    assert not gc.is_tracked(container)
    assert gone() is not None
    del container
    assert gone() is None


def test_it_stays_so_while_it_grows_and_shrinks():
    numbers = untracked([])
    for number in range(1000):
        numbers.append(number)
    numbers.sort(reverse=True)
    del numbers[:900]
    numbers += [1, 2]
    numbers.insert(0, 1)
    assert len(numbers) == 103
    assert not gc.is_tracked(numbers)
    assert not gc.is_tracked(untracked(untracked(())))
