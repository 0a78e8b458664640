"""What placement is told of a backend, and when it is told anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from orchestrator_mcp.backends.backend import Backend, client_for
from orchestrator_mcp.backends.catalogue import NodeCatalogue
from orchestrator_mcp.backends.snapshots import snapshot
from orchestrator_mcp.domain.wishes import Wish, WishKind
from orchestrator_mcp.settings import BackendSettings, Settings


def unavailable(backend: Backend) -> str | None:
    return backend.unavailable


def test_a_backend_is_told_of_anew_when_anything_about_it_has_changed_and_only_then() -> None:
    entry = BackendSettings.model_validate({"id": "a", "host": "127.0.0.1", "port": 8188})
    backend = Backend(settings=entry, client=client_for(entry, Settings()))
    drained = Wish(kind=WishKind.DRAINING, by="kim", at=datetime(2026, 1, 1, tzinfo=UTC))
    changes: list[Callable[[], object]] = [
        lambda: setattr(backend, "online", True),
        lambda: setattr(backend, "catalogue", NodeCatalogue({})),
        lambda: setattr(backend, "warm", "sd"),
        lambda: setattr(backend, "epoch", 2),
        lambda: setattr(backend, "wish", drained),
        lambda: setattr(backend, "wish", None),
        lambda: backend.breaker.trip("it fails", 0.0, pause=1.0),
        lambda: backend.breaker.allow_trial(),
        lambda: backend.breaker.succeeded(),
        lambda: setattr(backend, "settings", entry.model_copy(update={"capabilities": ["fast"]})),
        lambda: setattr(backend, "settings", entry.model_copy(update={"available": "Mon-Sun 00:00-00:01"})),
        lambda: setattr(backend, "settings", entry),
        lambda: setattr(backend, "draining", True),
    ]
    snapshot(backend, 0, unavailable)
    for number, change in enumerate(changes):
        before = snapshot(backend, 0, unavailable)
        assert snapshot(backend, 0, unavailable) is before
        assert snapshot(backend, 1, unavailable).running == 1
        change()
        told = snapshot(backend, 0, unavailable)
        backend.snapshot = None
        assert told == replace(snapshot(backend, 0, unavailable)), f"after change {number}"
        assert told.unavailable == backend.unavailable
