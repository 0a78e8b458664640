"""Store, backends, dispatch and the service: everything that works without a door."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from orchestrator_mcp import __version__
from orchestrator_mcp.artifacts import ArtifactStore
from orchestrator_mcp.backends.pool import BackendPool
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.composition.choices import Choices
from orchestrator_mcp.errors import StorageError
from orchestrator_mcp.events import Events
from orchestrator_mcp.files import is_network_filesystem
from orchestrator_mcp.machine.marks import MARKS_NAME, Marks, boot_id
from orchestrator_mcp.machine.shipped import workflow_folders
from orchestrator_mcp.scheduler import Dispatcher, Resources
from orchestrator_mcp.scheduler.learned import LearnedSpeeds
from orchestrator_mcp.service import JobService, ServiceParts
from orchestrator_mcp.settings import CurrentSettings, Settings
from orchestrator_mcp.store import JobStore
from orchestrator_mcp.store.backups import require_database
from orchestrator_mcp.upkeep.backups import FOLDER as BACKUPS
from orchestrator_mcp.upkeep.backups import Backups
from orchestrator_mcp.upkeep.reload import Reload, reload_on_hangup
from orchestrator_mcp.upkeep.retention import Retention
from orchestrator_mcp.upkeep.storage import StorageWatch
from orchestrator_mcp.workflows.library import WorkflowLibrary

log = logging.getLogger(__name__)

DATABASE: Final = "orchestrator.db"
MOST_REMEMBERED: Final = 10_000  # completed jobs, the newest: a backend's own history holds no more


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the core is made of."""

    store: JobStore
    pool: BackendPool
    dispatcher: Dispatcher
    artifacts: ArtifactStore
    service: JobService
    retention: Retention
    reload: Reload
    storage: StorageWatch
    backups: Backups
    marks: Marks
    learned: LearnedSpeeds


@asynccontextmanager
async def core(settings: Settings, choices: Choices, clock: Clock) -> AsyncIterator[JobService]:
    """Store, backends, dispatch: recovered and at work when this yields."""
    parts = _parts(settings, choices, clock)
    await anyio.to_thread.run_sync(require_database, settings.data_dir / DATABASE, settings.data_dir / BACKUPS)
    await parts.store.open()
    async with anyio.create_task_group() as storing:
        storing.start_soon(parts.store.run, name="store")
        try:
            async with parts.pool.opened(), anyio.create_task_group() as work:
                await _set_to_work(parts, work)
                if choices.reload_on_hangup:
                    work.start_soon(reload_on_hangup, parts.reload.ask, name="hangup")
                yield parts.service
                work.cancel_scope.cancel()
            await parts.learned.keep()
            await parts.backups.make_last()
        finally:
            parts.marks.close()
            parts.store.close()


async def _set_to_work(parts: Parts, work: TaskGroup) -> None:
    """Start everything that runs for as long as the house stands; recovery and the first looks are done on return."""
    parts.pool.remember(await parts.store.backends.wishes())
    parts.pool.foresight.recall(await parts.store.backends.speeds())
    parts.pool.recall(await parts.store.last_successes(among=MOST_REMEMBERED))
    work.start_soon(parts.pool.run, name="backends")
    await work.start(parts.dispatcher.run, name="dispatcher")
    work.start_soon(_sweep, parts.artifacts, name="sweep")
    work.start_soon(parts.service.condition.check_database, name="database check")
    work.start_soon(parts.service.look_after_watchers, name="watchers")
    work.start_soon(parts.retention.run, name="retention")
    work.start_soon(parts.reload.run, name="reload")
    work.start_soon(parts.storage.run, name="storage")
    work.start_soon(parts.backups.run, name="backups")
    work.start_soon(parts.learned.run, name="learned speeds")
    await parts.storage.first_looks()


def _parts(settings: Settings, choices: Choices, clock: Clock) -> Parts:
    """Build everything; nothing is opened or started."""
    events, current, host = Events(clock), CurrentSettings(settings), socket.gethostname()
    network = is_network_filesystem(settings.data_dir)
    marks = Marks(None if network else settings.data_dir / MARKS_NAME, host=host, boot=boot_id())
    store = JobStore(settings.data_dir / DATABASE, tell=events.publish, exclusive=network)
    artifacts = ArtifactStore(settings.data_dir / "artifacts")
    pool = BackendPool(current, clock=clock, tell=events.publish)
    dispatcher = Dispatcher(
        Resources(
            store=store,
            pool=pool,
            artifacts=artifacts,
            events=events,
            clock=clock,
            settings=current,
            marks=marks,
            instance=host,
            at_step=choices.at_step,
        )
    )
    service = JobService(
        ServiceParts(
            store=store,
            pool=pool,
            library=WorkflowLibrary(
                workflow_folders(settings.workflows_dirs), lambda: current.now.limits, pool.catalogues
            ),
            artifacts=artifacts,
            events=events,
            clock=clock,
            settings=current,
            running=lambda: dispatcher.running,
            version=__version__,
            at_step=choices.at_step,
        )
    )
    parts = Parts(
        store=store,
        pool=pool,
        dispatcher=dispatcher,
        artifacts=artifacts,
        service=service,
        retention=Retention(store, artifacts, lambda: current.now.retention, clock),
        reload=Reload(current, pool=pool, store=store, owner=marks.owner, instance=host, clock=clock),
        storage=StorageWatch(lambda: current.now, store, clock),
        backups=Backups(store, lambda: current.now, clock),
        marks=marks,
        learned=LearnedSpeeds(store, pool, clock),
    )
    _let_them_report(parts)
    return parts


def _let_them_report(parts: Parts) -> None:
    """Health asks each part what is wrong with it."""
    condition = parts.service.condition
    condition.close_while(lambda: parts.storage.trouble)
    condition.report_trouble(lambda: parts.reload.trouble)
    condition.report_trouble(lambda: parts.backups.trouble)
    condition.report_notice(lambda: parts.reload.notice)


async def _sweep(artifacts: ArtifactStore) -> None:
    try:
        await artifacts.sweep_temporaries()
    except StorageError as error:
        log.warning("cannot clear temporary files: %s", error)
