"""A refused connection shows a limit; one more is tried after waits that double, and the limit can rise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.connection_limit import (
    FIRST_WAIT,
    LONGEST_WAIT,
    ConnectionLimit,
    after_connect,
    after_refusal,
)

CONFIGURED = 16
#: What happens: a refusal (of a probe or not) or a connection, with how many open, after how long.
events = st.tuples(
    st.sampled_from(["refused", "refused probe", "connected"]),
    st.integers(0, CONFIGURED),
    st.floats(0, 1000),
)


def walked(walk: list[tuple[str, int, float]]) -> tuple[ConnectionLimit, float]:
    limit, now = ConnectionLimit(), 0.0
    for what, connected, later in walk:
        now += later
        if what == "connected":
            limit = after_connect(limit, connected, now, configured=CONFIGURED)
        else:
            limit = after_refusal(limit, connected, now, probe=what == "refused probe")
    return limit, now


@given(st.lists(events, max_size=60))
def test_a_limit_is_at_least_one_connection_and_less_than_all_and_is_tried_again_in_time(
    walk: list[tuple[str, int, float]],
) -> None:
    limit, now = walked(walk)
    assert limit.found is None or 1 <= limit.found <= CONFIGURED
    assert FIRST_WAIT <= limit.wait <= LONGEST_WAIT
    assert limit.probe_at <= now + LONGEST_WAIT


def test_the_limit_is_what_stood_when_a_connection_was_refused() -> None:
    assert after_refusal(ConnectionLimit(), 3, 10.0, probe=False) == ConnectionLimit(
        found=3, probe_at=10.0 + FIRST_WAIT
    )
    assert after_refusal(ConnectionLimit(), 0, 0.0, probe=False).found == 1


def test_refused_probes_double_the_wait_up_to_five_minutes() -> None:
    limit, now, waits = after_refusal(ConnectionLimit(), 3, 0.0, probe=False), 0.0, []
    for _ in range(10):
        waits.append(limit.probe_at - now)
        now = limit.probe_at
        limit = after_refusal(limit, 3, now, probe=True)
    assert waits == pytest.approx([2, 4, 8, 16, 32, 64, 128, 256, 300, 300])


def test_several_refusals_of_one_moment_do_not_lengthen_the_wait() -> None:
    limit = ConnectionLimit()
    for _ in range(7):
        limit = after_refusal(limit, 3, 0.0, probe=False)
    assert limit == ConnectionLimit(found=3, probe_at=FIRST_WAIT)


def test_a_connection_more_raises_the_limit_and_the_next_is_tried_soon() -> None:
    limit = ConnectionLimit(found=3, probe_at=50.0, wait=64.0)
    assert after_connect(limit, 3, 50.0, configured=8) is limit
    assert after_connect(limit, 4, 50.0, configured=8) == ConnectionLimit(found=4, probe_at=50.0 + FIRST_WAIT)
    assert after_connect(limit, 8, 50.0, configured=8) == ConnectionLimit()


def test_a_server_that_takes_fewer_than_before_is_believed_and_tried_soon() -> None:
    limit = ConnectionLimit(found=6, probe_at=50.0, wait=128.0)
    assert after_refusal(limit, 1, 50.0, probe=False) == ConnectionLimit(found=1, probe_at=50.0 + FIRST_WAIT)
