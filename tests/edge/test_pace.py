"""How slow is too slow: only the time in which the peer was waited for counts."""

import pytest

from tests.minting import refused
from valetstore.edge.pace import Pace
from valetstore.errors import Denied


def test_a_stretch_below_the_rate_is_refused() -> None:
    """After the grace, not before."""
    pace = Pace(100, 10, now=0)
    pace.moved(1, now=9)
    with refused("request_timeout"):
        pace.moved(1, now=10)


def test_each_stretch_is_judged_by_itself() -> None:
    """What was fast before does not make up for it."""
    pace = Pace(100, 10, now=0)
    pace.moved(10**6, now=10)
    with pytest.raises(Denied):
        pace.moved(999, now=20)


def test_time_that_was_not_the_peers_is_left_out() -> None:
    """A disk that takes a minute for each piece makes no slow client."""
    pace, now = Pace(100, 10, now=0.0), 0.0
    for _ in range(100):
        now += 60.5  # half a second of it the client's
        pace.paused(60)
        pace.moved(50, now)
    now += 10
    with refused("request_timeout"):
        pace.moved(50, now)


def test_what_is_given_ahead_counts_for_the_time_in_which_it_is_taken() -> None:
    """A client that is quick and then slow, but not too slow, has megabytes to take before it is given more."""
    pace = Pace(100, 10, now=0)
    pace.gave(1_000, now=0)
    pace.gave(100_000, now=10)  # this ends a stretch: what was given before was enough for it
    pace.gave(500, now=900)
    with refused("request_timeout"):
        pace.gave(500, now=1_000)
