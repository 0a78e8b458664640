"""Times and counts of dispatch, and who gets how much: the section `scheduling`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from orchestrator_mcp.domain.limits import Limit
from orchestrator_mcp.settings.checking import ClashError, Needs
from orchestrator_mcp.settings.kinds import SECTION, Duration, Switch, Text, Whole

EVERYBODY: Final = "*"

MOMENT: Final = 0.01  # seconds; the shortest where nothing at all would make no sense
TEN_MINUTES: Final = 600
HOUR: Final = 3600
WEEK: Final = 604_800

UpToTenMinutes = Annotated[Duration, Field(ge=MOMENT, le=TEN_MINUTES)]
UpToAnHour = Annotated[Duration, Field(ge=MOMENT, le=HOUR)]
UpToAWeek = Annotated[Duration, Field(ge=MOMENT, le=WEEK)]
NothingOrUpToAnHour = Annotated[Duration, Field(ge=0, le=HOUR)]
NothingOrUpToAWeek = Annotated[Duration, Field(ge=0, le=WEEK)]


def _read_number_for_all(value: Any) -> Any:
    return {EVERYBODY: value} if isinstance(value, int) and not isinstance(value, bool) else value


class NamedLimitSettings(BaseModel):
    """At most so many jobs of a sort at once."""

    model_config = SECTION

    name: Text = Field(description="What callers are told.")
    most: Whole = Field(ge=0, le=10_000, description="How many may run or stand by at once; 0 stops them.")
    model: Text | None = Field(
        default=None, description="Jobs that load a model file of this name; `*` and `?` stand for anything."
    )
    workflow: Text | None = Field(
        default=None, description="Jobs with this `workflow_id`; `*` and `?` stand for anything."
    )
    capability: Text | None = Field(default=None, description="Jobs that ask for this label.")
    source: Text | None = Field(default=None, description="Jobs of this source.")

    @model_validator(mode="after")
    def _check_that_it_counts(self) -> Self:
        if self.model is None and self.workflow is None and self.capability is None and self.source is None:
            raise ValueError("a limit needs a model, a workflow, a capability or a source that it counts")
        return self


class SchedulingSettings(BaseModel):
    """Times and counts of dispatch, probes and retries, and who gets how much."""

    model_config = SECTION

    share_by: Annotated[Literal["source", "project", "token"], Needs("source, project or token")] = Field(
        default="source",
        description="Between whom the farm is shared evenly: jobs of one `metadata.source`, of one "
        "`metadata.project`, or of one token.",
    )
    weights: Annotated[
        dict[Text, Annotated[float, Field(strict=True, gt=0, le=1000)]],
        Field(max_length=256),
        Needs("names with numbers above 0 (such as {alice: 2, nightly: 0.5})"),
    ] = Field(default={}, description="Who gets more than others, or less: twice the weight is twice the share.")
    max_queued: Annotated[
        dict[Text, Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]],
        BeforeValidator(_read_number_for_all),
        Field(max_length=256),
        Needs('a whole number above 0, or names with such numbers (such as {alice: 200, "*": 1000})'),
    ] = Field(
        default={},
        description="The most jobs of one of them that may wait; further ones get 429. `*` is whoever is not named, "
        "and a number alone holds for each.",
    )
    patience: NothingOrUpToAWeek = Field(
        default=60.0,
        description="A job that was passed over for this long, or for what it takes if that is longer, goes to the "
        "next free backend, whatever is loaded there and however slow it is. It is not passed over while a backend "
        "works at its model, and five times as long for jobs that came at about the same time.",
    )
    limits: Annotated[
        tuple[NamedLimitSettings, ...],
        Field(max_length=64),
        Needs('a list of limits (such as [{name: wan, model: "wan*", most: 2}])'),
    ] = Field(
        default=(),
        description="At most `most` jobs at once that load a `model`, are of a `workflow`, ask for a `capability` or "
        "come from a `source`.",
    )
    post_timeout: UpToAnHour = Field(
        default=60.0, description="How long handing over a job may take before it is in doubt."
    )
    quarantine: NothingOrUpToAnHour = Field(
        default=15.0,
        description="How long after `post_timeout` a job in doubt must stay unknown to its backend to be sent again.",
    )
    lost_after: UpToAWeek = Field(default=600.0, description="A backend out of reach for this long has lost its jobs.")
    stall_timeout: UpToAWeek = Field(
        default=900.0, description="A render without any progress for this long has stalled."
    )
    zombie_after: UpToAnHour = Field(
        default=30.0,
        description="A backend that holds jobs and runs none for this long is suspect, and they go elsewhere.",
    )
    interrupt_patience: UpToAnHour = Field(
        default=30.0,
        description="A backend that goes on with a render for this long after being told to stop is suspect.",
    )
    suspect_after: Whole = Field(
        default=3, ge=1, le=100, description="So many failures in a row make a backend suspect: it gets no new jobs."
    )
    suspect_pause: UpToAnHour = Field(
        default=30.0,
        description="How long until a suspect backend gets one job on trial; doubles with each trial that fails.",
    )
    max_attempts: Whole = Field(default=3, ge=1, le=100, description="How often a job is tried at most.")
    retry_delay: NothingOrUpToAnHour = Field(default=2.0, description="The pause before the first retry; doubles.")
    retry_delay_max: Duration = Field(default=60.0, ge=0, le=86400, description="The longest pause before a retry.")
    probe_interval: UpToAnHour = Field(
        default=2.0,
        description="How often each backend is looked at; more than 200 are looked at less often.",
    )
    probe_timeout: UpToTenMinutes = Field(default=10.0, description="How long such a look may take.")
    poll_interval: UpToTenMinutes = Field(
        default=0.5,
        description="How often a running job is asked about, at first; those whose events arrive at most 100 times a "
        "second together.",
    )
    poll_interval_max: UpToTenMinutes = Field(default=3.0, description="How often at last, while events arrive.")
    connect_timeout: UpToTenMinutes = Field(default=5.0, description="How long connecting may take.")
    foreign_patience: NothingOrUpToAWeek = Field(
        default=120.0,
        description="How long prompts that somebody else put into a backend's queue go first; then one of ours may.",
    )
    block_after: Whole = Field(
        default=3,
        ge=1,
        le=100,
        description="So many jobs of a kind in a row that fail in a node of one backend, and succeed on another, make "
        "further ones avoid it.",
    )
    block_for: NothingOrUpToAWeek = Field(default=3600.0, description="How long they avoid it; 0 is not at all.")
    allow_partial: Switch = Field(
        default=False, description="Let a job run although its backend refused some of its output nodes."
    )

    @property
    def named_limits(self) -> tuple[Limit, ...]:
        """The limits as placement takes them."""
        return tuple(
            Limit(
                name=limit.name,
                most=limit.most,
                label=limit.capability,
                model=limit.model,
                workflow=limit.workflow,
                source=limit.source,
            )
            for limit in self.limits
        )

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        for least, most in (("retry_delay", "retry_delay_max"), ("poll_interval", "poll_interval_max")):
            if getattr(self, least) > getattr(self, most):
                raise ClashError(f"{least} is longer than {most}; make it shorter or {most} longer", least, most)
        names = [limit.name for limit in self.limits]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two limits have the name {twice[0]}; each needs its own")
        return self
