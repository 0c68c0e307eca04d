"""Virtual time: nothing waits, the order is the seed's, and what asyncio promises holds."""

import asyncio
import time
from random import Random

import pytest

from tests.simulation.loop import Stalled, VirtualLoop


class Nobody:
    """Watches no commits."""

    def before(self) -> None: ...

    def after(self) -> None: ...


def make_loop(seed: str = "1") -> VirtualLoop:
    return VirtualLoop(Random(seed), Nobody())  # noqa: S311  # to repeat a run


def test_hours_pass_in_no_time() -> None:
    """A quiet time of 65 s, a timer of 500 s: a thousand worlds could not wait for them."""

    async def sleep() -> float:
        await asyncio.sleep(10 * 3600)
        return asyncio.get_running_loop().time()

    loop, began = make_loop(), time.monotonic()
    assert loop.run_until_complete(sleep()) == pytest.approx(10 * 3600)
    assert time.monotonic() - began < 5
    loop.close()


def test_timers_fire_in_the_order_of_their_times() -> None:
    """Virtual time is time: who waits longer wakes later."""
    told: list[int] = []

    async def sleep(seconds: int) -> None:
        await asyncio.sleep(seconds)
        told.append(seconds)

    async def many() -> None:
        await asyncio.gather(*(sleep(seconds) for seconds in (30, 10, 20)))

    loop = make_loop()
    loop.run_until_complete(many())
    assert told == [10, 20, 30]
    loop.close()


def test_waiting_for_nobody_is_an_error() -> None:
    """In real time it would hang; here it must not hang the whole sweep."""
    loop = make_loop()
    with pytest.raises(Stalled):
        loop.run_until_complete(loop.create_future())
    loop.close()


def test_an_executor_works_at_once_and_answers_later() -> None:
    """A commit takes time, in which the other side goes on."""

    async def work() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, str.upper, "done"), loop.time()

    loop = make_loop()
    result, at = loop.run_until_complete(work())
    assert result == "DONE"
    assert at > 0
    loop.close()


def test_an_executor_hands_over_what_was_raised() -> None:
    """The journal's failure must reach whoever asked for the commit."""

    async def work() -> None:
        await asyncio.to_thread(int, "no number")

    loop = make_loop()
    with pytest.raises(ValueError, match="no number"):
        loop.run_until_complete(work())
    loop.close()


def test_sets_of_tasks_are_walked_in_the_same_order_each_time() -> None:
    """Cancellations go through sets: walked by address they would differ from process to process."""

    async def order() -> list[str]:
        tasks = {asyncio.create_task(asyncio.sleep(1), name=str(number)) for number in range(20)}
        return [task.get_name() for task in tasks]

    orders = []
    for _ in range(2):
        loop = make_loop()
        orders.append(loop.run_until_complete(order()))
        loop.close()
    assert orders[0] == orders[1]


def test_a_pause_makes_every_timer_late_at_once() -> None:
    """A suspended machine: nothing ran in between, and all deadlines are over when it wakes."""

    async def pause() -> list[float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        sleeping = [asyncio.create_task(asyncio.sleep(seconds)) for seconds in (1, 2)]
        await asyncio.sleep(0)
        loop.skip(60)
        await asyncio.gather(*sleeping)
        return [loop.time()]

    loop = make_loop()
    assert loop.run_until_complete(pause()) == [60]
    loop.close()
