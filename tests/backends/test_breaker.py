"""When a backend gets no new jobs, when it is tried again, and how its restarts and its silence are noticed."""

from __future__ import annotations

import pytest

from orchestrator_mcp.backends.backend import DEAF_AFTER, Backend, client_for
from orchestrator_mcp.backends.breaker import MOST_DOUBLINGS, Breaker
from orchestrator_mcp.backends.messages import StatusChanged
from orchestrator_mcp.settings import BackendSettings, Settings


def test_it_opens_after_so_many_failures_in_a_row_and_says_so_once() -> None:
    breaker = Breaker()
    assert [breaker.failed("refused", 0.0, most=3, pause=10) for _ in range(4)] == [False, False, True, False]
    assert breaker.open
    assert breaker.reason == "3 failures in a row, at last: refused"


def test_a_success_between_failures_begins_the_count_anew() -> None:
    breaker = Breaker()
    for _ in range(2):
        breaker.failed("lost", 0.0, most=3, pause=10)
    assert not breaker.succeeded()
    breaker.failed("lost", 0.0, most=3, pause=10)
    assert not breaker.open


def test_after_its_pause_one_trial_decides() -> None:
    breaker = Breaker()
    assert breaker.trip("it runs nothing", 0.0, pause=10)
    assert not breaker.due(9.9)
    assert breaker.due(10.0)
    breaker.allow_trial()
    assert not breaker.open
    assert not breaker.due(99.0)
    assert breaker.failed("lost again", 20.0, most=3, pause=10)
    assert breaker.reason == "lost again"
    assert not breaker.due(39.9)
    breaker.allow_trial()
    assert breaker.succeeded()
    assert breaker.reason is None


def test_pauses_grow_to_a_limit() -> None:
    breaker = Breaker()
    for _ in range(MOST_DOUBLINGS + 5):
        breaker.trip("sick", 0.0, pause=1)
        breaker.allow_trial()
    breaker.trip("sick", 0.0, pause=1)
    assert breaker.due(2.0**MOST_DOUBLINGS)


def test_a_trial_is_put_off_while_it_still_looks_sick() -> None:
    breaker = Breaker()
    breaker.trip("it runs nothing", 0.0, pause=1)
    breaker.put_off("it still runs nothing", 5.0, pause=10)
    assert not breaker.due(14.9)
    assert breaker.reason == "it still runs nothing"


@pytest.fixture
def backend() -> Backend:
    entry = BackendSettings(id="one", host="127.0.0.1")
    return Backend(settings=entry, client=client_for(entry, Settings(backends=(entry,))), online=True)


def test_a_backend_that_stays_away_is_looked_at_less_often_and_never_given_up(backend: Backend) -> None:
    rarer = []
    for misses in (0, 10, 20, 10**9):
        backend.misses = misses
        rarer.append(backend.rarer)
    assert rarer[0] == 1
    assert rarer == sorted(set(rarer))
    assert rarer[-1] <= 10


def test_a_number_that_falls_tells_of_a_restart(backend: Backend) -> None:
    for number in (0, 1, 5):
        backend.numbered(number)
    assert backend.falls == 0
    backend.numbered(0)
    assert backend.falls == 1


def test_a_websocket_is_deaf_when_http_shows_another_queue_for_a_while(backend: Backend) -> None:
    backend.begin_to_listen()
    assert not backend.seems_deaf(3, 0.0)  # it has not told anything yet
    backend.hear(StatusChanged(queue_remaining=1))
    assert not backend.seems_deaf(1, 1.0)
    assert not backend.seems_deaf(2, 2.0)
    assert backend.seems_deaf(3, 2.0 + DEAF_AFTER)


def test_a_frame_that_comes_late_is_no_deafness(backend: Backend) -> None:
    backend.begin_to_listen()
    backend.hear(StatusChanged(queue_remaining=1))
    assert not backend.seems_deaf(2, 0.0)
    backend.hear(StatusChanged(queue_remaining=2))
    assert not backend.seems_deaf(3, DEAF_AFTER + 1)
    assert not backend.seems_deaf(3, DEAF_AFTER + 2)


def test_a_suspect_backend_says_why_and_a_trial_opens_it(backend: Backend) -> None:
    backend.breaker.trip("it runs nothing", 0.0, pause=1)
    assert backend.unavailable == "it is suspect: it runs nothing"
    backend.breaker.allow_trial()
    assert backend.unavailable is None
