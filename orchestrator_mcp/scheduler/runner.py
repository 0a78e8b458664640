"""One attempt, from its stored intent to its stored end."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

import anyio
import anyio.lowlevel

from orchestrator_mcp.backends.history import HistoryEntry, chosen_outputs
from orchestrator_mcp.backends.pool import Backend
from orchestrator_mcp.backends.rejections import Submission
from orchestrator_mcp.domain.jobs import Artifact, Graph, JobState, Outcome, Stage, attempt_name
from orchestrator_mcp.domain.placement import refusal
from orchestrator_mcp.domain.reports import RenderReport
from orchestrator_mcp.domain.retry import Again, Ended, decide
from orchestrator_mcp.domain.steps import Step
from orchestrator_mcp.errors import (
    ArtifactError,
    BackendAmbiguousError,
    BackendError,
    BackendRefusedError,
    LeaseLostError,
    PromptRejectedError,
    StorageError,
)
from orchestrator_mcp.logs import log_context
from orchestrator_mcp.scheduler import health, verdicts
from orchestrator_mcp.scheduler.collecting import collect
from orchestrator_mcp.scheduler.following import Follower
from orchestrator_mcp.scheduler.preparing import Preparation
from orchestrator_mcp.scheduler.recalling import marker_for
from orchestrator_mcp.scheduler.reconciler import NeverArrived, Place, Sighting, look_for_unsent, settle_doubt
from orchestrator_mcp.scheduler.reporting import render_seconds, report_of, tells_of_speed, was_warm
from orchestrator_mcp.scheduler.resources import LONGEST_PAUSE, Resources
from orchestrator_mcp.scheduler.stages import Stages
from orchestrator_mcp.scheduler.stopping import stop_prompt
from orchestrator_mcp.scheduler.wishes import Wishes
from orchestrator_mcp.store import OpenAttempt

log = logging.getLogger(__name__)
Told = Callable[["Runner"], None]


class Runner:
    """Carries one attempt through: send, follow, collect, publish.

    Args:
        resources: see `Resources`.
        held: the attempt, as it was claimed or adopted.
        adopted: whether a process before this one had it.
        never_sent: whether that process is known not to have sent it.
        sending: called when it is about to be sent.
        slot_free: called once, when the backend no longer works for this attempt.

    Attributes:
        held: the attempt as it is on record.
        backend: where it is made; None when that left the configuration.
    """

    def __init__(
        self,
        resources: Resources,
        held: OpenAttempt,
        *,
        adopted: bool,
        never_sent: bool,
        sending: Told,
        slot_free: Told,
    ) -> None:
        self.resources = resources
        self.held = held
        self._adopted, self._never_sent = adopted, never_sent
        self._mark = held.prompt_id
        self._sending, self._slot_free = sending, slot_free
        self.backend = resources.pool.take(held.backend_id)
        self._stages = Stages(resources, held)
        self._follower: Follower | None = None
        self._report: RenderReport | None = None
        self._wishes = Wishes(cancel=held.cancel_requested)
        self._preparation = Preparation(resources, held, self._wishes)
        self._holds_slot = True
        self._sent_as = ""
        self._error_answers: list[BackendAmbiguousError] = []
        self._doubts = 0
        self._sent_at: float | None = None
        self._falls = self._deaths = 0
        self._canary = self.backend.canary if self.backend is not None else None
        self._marker = marker_for(resources.instance, held.job_id, held.number)

    @property
    def standing_by(self) -> bool:
        """It waits behind another one, in its backend's own queue or here, and nobody wants anything of it."""
        follower = self._follower
        waits_there = follower is not None and follower.stage is Stage.WAITING
        return (waits_there or not (self._preparation.has_turn or self._adopted)) and not self._wishes.any

    @property
    def name(self) -> str:
        """The attempt, in one word."""
        return attempt_name(self.held.job_id, self.held.number)

    @property
    def sent(self) -> bool:
        """The backend may have got it, from this process."""
        return self._sent_at is not None

    @property
    def revoked(self) -> bool:
        """It is being taken back."""
        return self._wishes.revoke

    def has_its_turn(self) -> None:
        """It may be sent: it waits behind no other attempt."""
        self._preparation.has_its_turn()

    def cancel(self) -> None:
        """Stop the prompt wherever it is; the job ends as cancelled unless it has ended first."""
        self._wishes.cancel = True
        self._nudge()

    def revoke(self, why: str = "taken back for a backend that is idle") -> None:
        """Take a standby back, if it does not render yet; the job is queued again.

        Args:
            why: what is put on record.
        """
        self._wishes.take_back(why)
        self._nudge()

    def _nudge(self) -> None:
        if self._follower is None:
            self._preparation.has_its_turn()
            return
        reader = self._follower.backend.readers.get(self.held.prompt_id)
        if reader is not None:
            with suppress(anyio.WouldBlock):
                reader.send_nowait(None)

    async def run(self) -> None:
        """Make the attempt; never raises but for cancellation and bugs."""
        with self._log_context():
            try:
                await self._conclude(await self._render())
                self.resources.marks.clear(self._mark)
            except LeaseLostError as error:
                log.warning("%s", error)
            finally:
                self._release()
                if self.backend is not None:
                    self.resources.pool.leave(self.backend)

    async def give_back(self) -> None:
        """Queue the job again, of which nothing was sent; for the end of the process, after `run`."""
        with self._log_context():
            try:
                await self._conclude(self._preparation.unsent())
            except LeaseLostError as error:
                log.warning("%s", error)

    def _log_context(self) -> AbstractContextManager[None]:
        return log_context(job_id=self.held.job_id, attempt=self.held.number, backend_id=self.held.backend_id)

    async def _render(self) -> Ended:
        backend = self.backend
        if backend is None:
            return verdicts.lost(f"{self.held.backend_id} is no longer in the configuration")
        graph = self._preparation.graph_for(backend)
        if not self._adopted:
            await self._preparation.wait_for_turn(backend)
        with backend.messages(self.held.prompt_id) as messages:
            self._falls, self._deaths = backend.falls, backend.deaths
            sent = await self._settle(backend) if self._adopted else await self._send(backend, graph)
            while isinstance(sent, NeverArrived):
                if (in_vain := verdicts.sent_in_vain(backend.id, self._error_answers, self._doubts)) is not None:
                    return in_vain
                log.info("the prompt never arrived; sending it again to the same backend")
                sent = await self._send(backend, graph)
            if isinstance(sent, Ended):
                return sent
            prompt_id, stage = sent
            self._follower = Follower(
                resources=self.resources,
                backend=backend,
                held=self.held,
                prompt_id=prompt_id,
                graph=graph,
                falls=self._falls,
                canary=self._canary,
                sent_as=self._sent_as,
                marker=self._marker,
                stage=stage,
                wishes=self._wishes,
                stages=self._stages,
                succeeded=partial(self._succeeded, backend, graph),
            )
            end = await self._follower.follow(messages)
            if isinstance(end, Ended):
                return end
            self._report = report_of(backend, graph, end, self._follower.node_timings(messages))
            self._follower = None  # it knows this runner: a circle stays in memory until all of that is looked at
        self._learn(backend, graph, end)
        return await self._judge(backend, end)

    def _learn(self, backend: Backend, graph: Graph, entry: HistoryEntry) -> None:
        """What the render tells of the backend; of one that was adopted it is not known what was warm before it."""
        if entry.verdict != "succeeded" or not self._holds_slot:
            return  # once the slot is free, others may have begun to change what is warm
        warm = was_warm(graph, entry)
        tells = tells_of_speed(graph, entry) and (warm is not None or not self._adopted)
        self.resources.pool.foresight.rendered(
            self.name,
            backend,
            self.held.lane.model_key,
            seconds=render_seconds(entry) if tells else None,
            was_warm=warm,
        )

    async def _send(self, backend: Backend, graph: Graph) -> tuple[str, Stage] | Ended | NeverArrived:
        """Hand the graph over; the intent to do so is stored already."""
        ready = await self._preparation.ready(backend, graph)
        if isinstance(ready, Ended):
            return ready
        await self.resources.persist(self._make_mark)
        self.resources.at_step(Step.MARKED)
        await anyio.lowlevel.checkpoint_if_cancelled()  # from here on it may have been sent
        self._falls, self._deaths = backend.falls, backend.deaths
        self._sent_as = backend.client_id
        self._sent_at = self.resources.clock.monotonic()
        self._canary = backend.canary
        self._sending(self)
        try:
            submission = await self._submit(backend, ready)
        except BackendRefusedError as error:
            backend.distrust()
            return Ended(outcome=Outcome.REFUSED, reason=error.message)
        except PromptRejectedError as error:
            if self._preparation.must_bring_again(backend, error):
                return await self._send(backend, graph)
            backend.forget_catalogue()
            return verdicts.rejected(error)
        except BackendAmbiguousError as error:
            log.warning("not sure whether the prompt was taken: %s", error.message)
            self._doubts += 1
            health.fail(self.resources, backend, error.message)
            if error.details.get("status") == 500:
                self._error_answers.append(error)
            return await self._settle(backend)
        if submission.node_errors and not self.resources.scheduling.allow_partial:
            return await self._reject_part(backend, submission)
        self._falls += backend.numbered(submission.number)  # this prompt came after the restart
        return self._accepted(backend, submission.prompt_id, Stage.WAITING)

    async def _make_mark(self) -> None:
        self.resources.marks.set(self._mark)

    async def _submit(self, backend: Backend, graph: Graph) -> Submission:
        try:
            return await backend.client.submit(
                graph, prompt_id=self.held.prompt_id, client_id=self._sent_as, marker=self._marker
            )
        finally:
            self.resources.right_of_way.arrived(self.name)

    async def _reject_part(self, backend: Backend, submission: Submission) -> Ended:
        clock, patience = self.resources.clock, self.resources.scheduling.lost_after
        sighting = await stop_prompt(backend, submission.prompt_id, clock=clock, patience=patience)
        if sighting.place is Place.UNSEEN:
            health.abandon(backend, submission.prompt_id, self._marker)
        return verdicts.partly_rejected(backend.id, submission)

    async def _settle(self, backend: Backend) -> tuple[str, Stage] | Ended | NeverArrived:
        found = await self._look_for(backend)
        if isinstance(found, Ended) and found.outcome is Outcome.LOST:
            health.abandon(backend, self.held.prompt_id, self._marker)
        if isinstance(found, (Ended, NeverArrived)):
            return found
        log.info("the prompt is %s on its backend", found.place.value)
        self.resources.at_step(Step.ADOPTED)
        stage = Stage.WAITING if found.place is Place.PENDING else Stage.RENDERING
        if found.place is Place.ENDED and self.held.stage in (Stage.COLLECTING, Stage.PUBLISHING):
            stage = Stage.COLLECTING
        return self._accepted(backend, found.prompt_id, stage, f"found again on {backend.id}: {found.place.value}")

    async def _look_for(self, backend: Backend) -> Sighting | Ended | NeverArrived:
        if self._never_sent:
            return await look_for_unsent(backend, self.held, self._marker)
        return await settle_doubt(
            backend,
            self.held,
            marker=self._marker,
            falls=self._falls,
            deaths=self._deaths,
            canary=self._canary,
            sent_at=self._sent_at,
            clock=self.resources.clock,
            scheduling=self.resources.scheduling,
        )

    def _accepted(self, backend: Backend, prompt_id: str, stage: Stage, reason: str | None = None) -> tuple[str, Stage]:
        if prompt_id != self.held.prompt_id:
            backend.also_known_as(self.held.prompt_id, prompt_id)
        self.resources.at_step(Step.POSTED)
        self._stages.enter(stage, Step.ACCEPTED, accepted_as=prompt_id, reason=reason)
        self.held = replace(self.held, prompt_id=prompt_id, accepted=True)
        return prompt_id, stage

    async def _judge(self, backend: Backend, entry: HistoryEntry) -> Ended:
        """The render is over: its slot is free, its outputs are to be fetched."""
        self.resources.at_step(Step.RENDERED)
        backend.canary = entry.prompt_id
        self._release()
        wrong = verdicts.judged(entry, backend.id, cancelled=self._wishes.cancel)
        if wrong is not None:
            return wrong
        if entry.unreadable:
            words = verdicts.left_out(backend.id, entry.unreadable)
            warn = partial(self.resources.store.warn, self.held, words, self.resources.clock.now())
            await self.resources.persist(warn)
        self._stages.enter(Stage.COLLECTING, Step.COLLECTING)
        artifacts = await self._collect(backend, entry)
        if isinstance(artifacts, Ended):
            return artifacts
        self.resources.at_step(Step.FETCHED)
        self._stages.enter(Stage.PUBLISHING, Step.PUBLISHING)
        return Ended(outcome=Outcome.SUCCEEDED, reason=f"rendered by {backend.id}", artifacts=tuple(artifacts))

    async def _collect(self, backend: Backend, entry: HistoryEntry) -> list[Artifact] | Ended:
        clock, patience = self.resources.clock, self.resources.scheduling.lost_after
        began = clock.monotonic()
        while True:
            try:
                return await collect(self.resources, backend, chosen_outputs(entry), self.held.stem)
            except ArtifactError as error:
                return verdicts.bad_output(error)
            except StorageError as error:
                log.error("cannot store an output now, trying again: %s", error)
            except BackendError as error:
                backend.distrust()
                log.warning("cannot fetch an output now: %s", error.message)
                if clock.monotonic() - began > patience:
                    return verdicts.lost(f"{backend.id} could not be reached for {patience:g} s to fetch the outputs")
            await clock.sleep(LONGEST_PAUSE)

    async def _conclude(self, ended: Ended) -> None:
        """Store what becomes of the job."""
        scheduling, store, now = self.resources.scheduling, self.resources.store, self.resources.clock.now()
        verdict = decide(
            ended,
            others=ended.outcome is not Outcome.SUCCEEDED and self._others_may_run(),
            charged=self.held.charged,
            losses=await self._losses() if ended.outcome is Outcome.LOST else 0,
            max_attempts=scheduling.max_attempts,
            retry_delay=scheduling.retry_delay,
            retry_delay_max=scheduling.retry_delay_max,
        )
        if self.backend is not None:
            health.learn(self.resources, self.backend, ended)
            health.learn_of_kind(self.resources, self.backend, self.held, ended)
        self._release()
        if isinstance(verdict, Again):
            level = logging.INFO if ended.outcome is Outcome.REVOKED else logging.WARNING
            log.log(level, "attempt ended (%s), the job is queued again: %s", ended.outcome.value, ended.reason)
            not_before = now + timedelta(seconds=verdict.delay) if verdict.delay else None
            await self._store_end(
                lambda: store.requeue(
                    self.held,
                    ended.outcome,
                    now,
                    reason=ended.reason,
                    not_before=not_before,
                    avoid=verdict.avoid,
                    charge=verdict.charge,
                )
            )
            return
        await self._store_end(
            lambda: store.finish(
                self.held,
                verdict.state,
                ended.outcome,
                now,
                reason=ended.reason,
                failure=verdict.failure,
                artifacts=ended.artifacts,
                attention=verdict.attention,
                report=self._report,
                deliver=self.resources.settings.now.outbox == "all",
            )
        )
        level = logging.WARNING if verdict.state is JobState.FAILED else logging.INFO
        log.log(level, "job %s: %s", verdict.state.value, ended.reason)
        self.resources.at_step(Step.PUBLISHED)

    async def _store_end(self, write: Callable[[], Awaitable[None]]) -> None:
        """After all its stages; mostly in one transaction with the last of them."""

        async def stages_and_end() -> None:
            await self._stages.settle()
            await write()

        await self.resources.persist(stages_and_end)

    def _others_may_run(self) -> bool:
        """Whether another enabled backend may be able to: one that is offline or not yet known may be."""
        spec = self.held.lane.avoiding(self.held.backend_id)
        enabled = {backend.id for backend in self.resources.pool if backend.enabled}
        candidates = self.resources.pool.candidates({})
        return any(c.backend_id in enabled and refusal(spec, c) is None for c in candidates)

    async def _losses(self) -> int:
        stored = await self.resources.persist(lambda: self.resources.store.job(self.held.job_id))
        return len({attempt.backend_id for attempt in stored.job.attempts if attempt.outcome is Outcome.LOST})

    def _succeeded(self, backend: Backend, graph: Graph, said: HistoryEntry) -> None:
        """The backend says that it is done: the next job may be sent to it while the proof and the files are fetched.

        Were it not so, the next one would wait in the backend's queue, as a standby does.
        """
        self._learn(backend, graph, said)
        backend.canary = said.prompt_id
        self._release()

    def _release(self) -> None:
        if self._holds_slot:
            self._holds_slot = False
            self._slot_free(self)
