"""The pool of threads that compute on one core each."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from threadpoolctl import threadpool_info

from mri_transfer.core.threads import (
    algebra_on_one_core,
    at_most_threads,
    map_ahead,
    map_on_cores,
    one_core_each,
)

#: The smallest normal number of float32, which half of is a denormal one.
TINY = 2.0**-126


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def _threads_of_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def _half_of_tiny(_: int = 0) -> float:
    return float((torch.full((64,), TINY) * 0.5)[0])


def test_every_thread_of_the_pool_computes_alone_and_the_caller_as_before() -> None:
    meet = threading.Barrier(4)

    def count(_: int) -> int:
        meet.wait(timeout=120)  # so that each of the four threads takes one
        return torch.get_num_threads()

    with one_core_each(4) as pool:
        assert list(pool.map(count, range(4))) == [1, 1, 1, 1]
        assert torch.get_num_threads() == 3


@pytest.mark.parametrize("fails", [False, True])
def test_threads_made_later_do_not_inherit_the_setting(fails: bool) -> None:
    def use() -> None:
        with one_core_each(2) as pool:
            list(pool.map(str, range(4)))
            if fails:
                raise RuntimeError

    if fails:
        with pytest.raises(RuntimeError):
            use()
    else:
        use()
    assert torch.get_num_threads() == 3
    assert _threads_of_a_new_thread() == 3


def test_denormal_numbers_are_flushed_in_the_pool_alone_and_only_if_asked() -> None:
    for flush, expected in ((True, 0.0), (False, TINY / 2)):
        with one_core_each(1, flush_denormals=flush) as pool:
            assert pool.submit(_half_of_tiny).result() == expected
    assert _half_of_tiny() == TINY / 2


def test_outcomes_come_in_order_and_few_are_begun_before_they_are_asked_for() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        return 10 * item

    with one_core_each(2) as pool:
        outcomes = map_ahead(pool, work, range(50), ahead=3)
        assert next(outcomes) == 0
        assert len(begun) <= 3
        assert list(outcomes) == [10 * item for item in range(1, 50)]
    assert sorted(begun) == list(range(50))


def test_each_item_is_computed_on_one_core() -> None:
    assert list(map_on_cores(lambda _: torch.get_num_threads(), range(5))) == [1] * 5
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("limit", "used"), [(None, 3), (1, 1), (2, 2), (8, 3)])
def test_a_limit_lowers_the_threads_of_torch_and_of_pools_inside_it(
    limit: int | None, used: int
) -> None:
    alone = threading.Barrier(used)

    def meet(_: int) -> int:
        return alone.wait(timeout=120)  # breaks unless so many work at once

    with at_most_threads(limit):
        assert torch.get_num_threads() == used
        assert sorted(map_on_cores(meet, range(used))) == list(range(used))
    assert torch.get_num_threads() == 3


def test_algebra_keeps_every_library_to_one_thread_and_leaves_them_as_they_were() -> None:
    def threads() -> list[int]:
        return [library["num_threads"] for library in threadpool_info()]

    with algebra_on_one_core():
        pass  # loads the libraries that it limits
    before = threads()
    with algebra_on_one_core():
        assert set(threads()) == {1}
        assert torch.get_num_threads() == 1
    assert threads() == before
    blas = [one["user_api"] == "blas" for one in threadpool_info()]
    (inside,) = map_on_cores(lambda _: threads(), [0], algebra=True)
    assert {number for number, own in zip(inside, blas, strict=True) if own} == {1}
    assert threads() == before
