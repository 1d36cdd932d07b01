"""A thread that works ahead: same items, same order, same errors, and gone when nobody wants more."""

import gc
import threading
import time
from contextlib import closing

import pytest

from atomlens.data.batching import prefetched


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.fixture(autouse=True)
def none_left():
    yield
    assert threads() == []


@pytest.mark.parametrize("depth", [0, 1, 2, 7])
def test_the_same_items_in_the_same_order(depth):
    assert list(prefetched(iter(range(50)), depth)) == list(range(50))
    assert list(prefetched([], depth)) == []
    assert list(prefetched([None, 0, None], depth)) == [None, 0, None]


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_errors_come_after_the_items_before_them(depth):
    def items():
        yield 1
        yield 2
        raise KeyError("third")

    seen = []
    with pytest.raises(KeyError, match="third"):
        seen.extend(prefetched(items(), depth))
    found = []
    stream = prefetched(items(), depth)
    found.append(next(stream))
    found.append(next(stream))
    with pytest.raises(KeyError):
        next(stream)
    assert found == [1, 2]


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_stopping_early_leaves_no_thread(taken):
    made = []

    def items():
        for number in range(10**9):
            made.append(number)
            yield number

    with closing(prefetched(items(), 2)) as stream:
        assert [next(stream) for _ in range(taken)] == list(range(taken))
        assert len(threads()) == (taken > 0)
    assert threads() == []
    assert len(made) <= taken + 3  # two waiting, one in hand
    time.sleep(0.02)
    assert len(made) <= taken + 3


def test_a_stream_that_is_dropped_leaves_no_thread():
    stream = prefetched(iter(range(100)), 2)
    next(stream)
    del stream
    gc.collect()
    assert threads() == []


def test_an_error_of_whoever_uses_the_items_leaves_no_thread():
    def use():
        with closing(prefetched(iter(range(100)), 2)) as stream:
            return [1 / (item - 3) for item in stream]

    with pytest.raises(ZeroDivisionError):
        use()
    assert threads() == []


def test_items_are_made_while_others_are_used():
    """Two who wait for each other's tenth of a second need half the time side by side."""

    def items():
        for number in range(5):
            time.sleep(0.05)
            yield number

    def seconds(depth):
        start = time.perf_counter()
        for _ in prefetched(items(), depth):
            time.sleep(0.05)
        return time.perf_counter() - start

    assert seconds(1) < 0.8 * seconds(0)


def test_no_more_than_the_depth_is_made_ahead():
    made = threading.Semaphore(0)

    def items():
        for number in range(20):
            made.release()
            yield number

    with closing(prefetched(items(), 3)) as stream:
        next(stream)
        time.sleep(0.05)
        count = 0
        while made.acquire(blocking=False):
            count += 1
        assert count == 1 + 3 + 1  # taken, waiting, and the one that finds no room
