"""The window of the two limits: never more in any hour than counted, whatever the pace and whatever the clock."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.channel.outflow import DAY, HOUR, MOST_EXACT, NOTHING, Outflow
from bridge.channel.state import State, decode, encode

START = 1_800_000_000.0


def pay(outflow: Outflow, amount: int, at: float, key: str = "k") -> Outflow:
    return outflow.hold(key, amount).spend(key, at)


def test_what_is_held_counts_until_it_is_released() -> None:
    """An attempt has no right to room that another one may still use."""
    outflow = NOTHING.hold("a", 5).hold("b", 7)
    assert outflow.within(HOUR, START) == 12
    assert outflow.within(HOUR, START, but="a") == 7
    assert outflow.within(HOUR, START + 10 * DAY) == 12
    assert outflow.release("a").within(HOUR, START) == 7


def test_the_attempts_of_one_command_are_held_once() -> None:
    """A retried payment pays once."""
    assert NOTHING.hold("a", 5).hold("a", 5).within(DAY, START) == 5


def test_what_is_paid_counts_for_exactly_an_hour_and_a_day() -> None:
    outflow = pay(NOTHING, 5, START)
    assert outflow.within(HOUR, START + HOUR - 0.001) == 5
    assert outflow.within(HOUR, START + HOUR) == 0
    assert outflow.within(DAY, START + DAY - 0.001) == 5
    assert outflow.within(DAY, START + DAY) == 0


def test_a_clock_that_stands_earlier_after_a_restart_frees_nothing() -> None:
    """And what is paid by it is not forgotten before what was paid by the later one."""
    outflow = pay(NOTHING, 5, START)
    earlier = START - 2 * DAY
    assert outflow.within(HOUR, earlier) == 5
    outflow = pay(outflow, 6, earlier)
    assert outflow.within(HOUR, earlier) == 11
    assert outflow.within(HOUR, START + HOUR - 1) == 11
    assert outflow.within(HOUR, START + HOUR) == 0


PAYMENTS = st.lists(st.tuples(st.floats(0, 4000), st.integers(1, 10**20)), max_size=300)


@given(payments=PAYMENTS, window=st.sampled_from((HOUR, DAY)))
def test_no_pace_makes_it_forget_a_payment_early(payments: list[tuple[float, int]], window: float) -> None:
    """Putting neighbours together may count them longer, never shorter; and the list stays short."""
    outflow, now = NOTHING, START
    made: list[tuple[float, int]] = []
    for pause, amount in payments:
        now += pause
        outflow = pay(outflow, amount, now)
        made.append((now, amount))
        exact = sum(amount for at, amount in made if at > now - window)
        longer = sum(amount for at, amount in made if at > now - window - 3600)
        assert exact <= outflow.within(window, now) <= longer
        assert len(outflow.spent) <= MOST_EXACT + 1


def test_a_hundred_payments_a_second_for_a_day_stay_a_few_lines() -> None:
    """They are stored with every step."""
    outflow = NOTHING
    for number in range(50_000):
        outflow = pay(outflow, 1, START + number * DAY / 50_000)
    assert len(outflow.spent) <= MOST_EXACT + 1
    assert abs(outflow.within(DAY, START + DAY) - 50_000) < 50_000 / 24


def test_the_figures_are_stored_with_the_state() -> None:
    """A limit that a restart forgets is none."""
    outflow = pay(NOTHING.hold("b", 7), 5, START)
    assert decode(encode(State(outflow=outflow))).outflow == outflow
    assert decode(encode(State())).outflow == NOTHING
