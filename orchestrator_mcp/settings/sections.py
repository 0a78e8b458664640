"""The parts of the settings: what each key is, which values it takes, and the words for both.

Messages and documentation are made from these models, so a key is described here and nowhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from orchestrator_mcp.domain.opening_hours import OpeningHours
from orchestrator_mcp.settings.addresses import (
    check_allowed_host,
    check_headers,
    check_origin,
    check_public_url,
    is_loopback,
)
from orchestrator_mcp.settings.checking import Needs
from orchestrator_mcp.settings.kinds import (
    SECTION,
    Folder,
    Host,
    Labels,
    Size,
    Switch,
    Text,
    Whole,
    read_folder,
)

MAX_SLOTS = 2  # one rendering and one standing by; more would take the order of the queue out of our hands

_BEYOND_LOOPBACK: Final = {"queued_jobs": 100_000, "submits_per_second": 20.0, "streams": 1000}


def _check_hours(text: str | None) -> str | None:
    if text is not None:
        OpeningHours.parse(text)
    return text


def place_of(host: str, port: int) -> tuple[str, int]:
    """A host and a port, with one spelling for those that surely mean the same.

    Args:
        host: a name or an address.
        port: on it.
    """
    folded = host.casefold()
    return "127.0.0.1" if folded == "localhost" else folded, port


class BackendSettings(BaseModel):
    """One ComfyUI server of the farm."""

    model_config = SECTION

    id: Annotated[
        str,
        Field(strict=True, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"),
        Needs("1 to 64 of the characters A-Z a-z 0-9 . _ - that do not begin with a dot (a number in quotes)"),
    ] = Field(description="The name that jobs, logs and addresses use for it; no two backends may share one.")
    name: Annotated[str, Field(strict=True, max_length=200), Needs("a text of at most 200 characters")] = Field(
        default="", description="The name that people see. Without one, the `id`."
    )
    host: Host = Field(description="Where ComfyUI listens.")
    port: Whole = Field(default=8188, ge=1, le=65535, description="The port it listens on.")
    scheme: Annotated[Literal["http", "https"], Needs("http or https")] = Field(
        default="http", description="`https` for a server behind a reverse proxy with a certificate."
    )
    enabled: Switch = Field(default=True, description="`false` takes it out of the farm without deleting the entry.")
    paused: Switch = Field(
        default=False, description="`true` gives it nothing new for as long as that stands; what it has, it ends."
    )
    available: Annotated[
        str | None,
        Field(strict=True),
        AfterValidator(_check_hours),
        Needs('opening hours as text (such as "Mon-Fri 19:00-08:00, Sat-Sun")'),
    ] = Field(
        default=None,
        description="When it may render, in this machine's time; at all times without it. Outside, nothing new goes "
        "there, and a standby is taken back.",
    )
    capabilities: Labels = Field(
        default=(),
        description="Labels that a manifest may ask for. Nodes and models are found without them; case is ignored.",
    )
    max_concurrent_jobs: Whole = Field(
        default=1,
        ge=1,
        le=1000,
        description="1, or 2 to keep a second job standing by at the server. More acts as 2, with a warning.",
    )
    kind: Annotated[Literal["comfyui", "sandbox"], Needs("comfyui or sandbox")] = Field(
        default="comfyui", description="`sandbox` marks a server that draws placeholder pictures; results then say so."
    )
    free_between_models: Switch = Field(
        default=False,
        description="Have it free its memory (`/free`) before a job that needs other models than the last one there.",
    )
    headers: Annotated[
        dict[str, SecretStr], Field(max_length=32), Needs("header names with texts (such as {Authorization: ...})")
    ] = Field(default={}, description="Sent with each request, for a reverse proxy that asks for them. Never shown.")

    @property
    def url(self) -> str:
        """The server's address without a path, for example `http://192.168.1.100:8188`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def place(self) -> tuple[str, int]:
        """What two entries for one server have in common, however each spells it."""
        return place_of(self.host, self.port)

    @property
    def slots(self) -> int:
        """How many jobs it is given at once: 1 or 2."""
        return min(self.max_concurrent_jobs, MAX_SLOTS)

    @field_validator("name", mode="after")
    @classmethod
    def _take_the_id(cls, name: str, info: ValidationInfo) -> str:
        return name or str(info.data.get("id", ""))

    @field_validator("capabilities", mode="after")
    @classmethod
    def _fold(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        folded = (label.strip().lower() for label in labels)
        return tuple(dict.fromkeys(label for label in folded if label))

    @field_validator("headers", mode="after")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        check_headers({name: value.get_secret_value() for name, value in headers.items()})
        return headers


class ServerSettings(BaseModel):
    """Where the orchestrator itself listens, and to whom."""

    model_config = SECTION

    host: Host = Field(default="127.0.0.1", description="The address to listen on; `0.0.0.0` for the whole network.")
    port: Whole = Field(default=9800, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    public_url: Annotated[
        str | None, AfterValidator(check_public_url), Needs("an address such as https://renders.studio.example")
    ] = Field(default=None, description="The address that callers see, when a reverse proxy stands in front.")
    allowed_hosts: Annotated[
        tuple[Annotated[str, AfterValidator(check_allowed_host)], ...],
        Field(max_length=64),
        Needs("a list of host names (such as [renders.studio.example])"),
    ] = Field(default=(), description="Further names under which requests may come. This machine's own always may.")
    cors_origins: Annotated[
        tuple[Annotated[str, AfterValidator(check_origin)], ...],
        Field(max_length=64),
        Needs("a list of origins (such as [http://localhost:3000])"),
    ] = Field(default=(), description="Web pages of other origins that may call the API from a browser.")
    tokens_file: Annotated[
        Path | None, BeforeValidator(read_folder), Needs("a file as text (such as ./tokens.yaml)")
    ] = Field(
        default=None,
        description="Further callers with tokens of their own, see security.md. With it, loopback asks for one too.",
    )

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach it."""
        return not is_loopback(self.host)

    @property
    def asks_for_token(self) -> bool:
        """Whether callers must show who they are, unless the command line says otherwise."""
        return self.exposed or self.tokens_file is not None


class LimitSettings(BaseModel):
    """What is refused because it is too much."""

    model_config = SECTION

    body_bytes: Size = Field(default=2**24, ge=1, le=2**30, description="The largest manifest, through any door.")
    upload_bytes: Size = Field(
        default=100 * 10**6,
        ge=1,
        le=2**40,
        description="The largest input file (uploaded, or taken from one of `assets.roots` or a job folder), and the "
        "largest picture that is rendered again.",
    )
    graph_depth: Whole = Field(default=64, ge=1, le=1000, description="The deepest nesting in a manifest.")
    graph_nodes: Whole = Field(default=10_000, ge=1, le=1_000_000, description="The most nodes in a workflow.")
    output_bytes: Size = Field(default=2**32, ge=1, le=2**44, description="The largest single output file.")
    outputs: Whole = Field(default=1000, ge=1, le=100_000, description="The most output files of a job.")
    backend_json_bytes: Size = Field(
        default=2**25, ge=1, le=2**30, description="The largest JSON answer taken from a backend."
    )
    batch_jobs: Whole = Field(default=10_000, ge=1, le=10_000, description="The most jobs in one batch.")
    confirm_jobs: Whole = Field(
        default=100,
        ge=0,
        le=10_000,
        description="An agent's batch of more jobs is confirmed by a person, where its program can ask; 0 never asks.",
    )
    queued_jobs: Annotated[int | None, Field(strict=True), Needs("a whole number")] = Field(
        default=None,
        ge=0,
        description="The most jobs that may wait; further ones get 429. Beyond loopback 100000; 0 is no limit.",
    )
    submits_per_second: Annotated[float | None, Field(strict=True), Needs("a number")] = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="The most submissions of one token or address, in the long run. Beyond loopback 20; 0 is no limit.",
    )
    submit_burst: Whole = Field(
        default=100, ge=1, le=1_000_000, description="The most of them at once, before that rate holds."
    )
    streams: Annotated[int | None, Field(strict=True), Needs("a whole number")] = Field(
        default=None,
        ge=0,
        description="The most open streams of one token or address. Beyond loopback 1000; 0 is no limit.",
    )
    free_bytes: Size = Field(
        default=500 * 10**6,
        ge=0,
        le=2**50,
        description="With less free space in `data_dir`, `outbox_dir` or `log_dir`, nothing is accepted.",
    )
    page: Whole = Field(default=500, ge=1, le=10_000, description="The most jobs in one answer of a list.")

    def in_force(self, *, exposed: bool) -> LimitSettings:
        """With what holds for those that are not written.

        Args:
            exposed: whether other machines can reach the server.
        """
        found = {name: getattr(self, name) for name in _BEYOND_LOOPBACK}
        filled = {name: _BEYOND_LOOPBACK[name] for name, value in found.items() if value is None and exposed}
        return self.model_copy(update={**{name: value or None for name, value in found.items()}, **filled})


class PolicySettings(BaseModel):
    """What the farm is not for."""

    model_config = SECTION

    denied_nodes: Annotated[
        tuple[Text, ...],
        Field(max_length=1000),
        Needs("a list of node classes (such as [ExecutePython])"),
    ] = Field(default=(), description="Workflows with a node of these classes are refused. `*` stands for anything.")


class AssetSettings(BaseModel):
    """Where input files may be taken from."""

    model_config = SECTION

    roots: Annotated[tuple[Folder, ...], Field(max_length=64), Needs("a list of folders (such as [./plates])")] = Field(
        default=(),
        description="Folders whose pictures, videos and sounds a manifest may name by path. Whoever may submit jobs "
        "may read them.",
    )


class RetentionSettings(BaseModel):
    """How long finished jobs and their files are kept in `data_dir`. The Outbox is never pruned."""

    model_config = SECTION

    days: Annotated[float, Field(strict=True), Needs("a number")] = Field(
        default=14, gt=0, le=36500, description="Jobs that ended longer ago are forgotten, with their files."
    )
    jobs: Whole = Field(
        default=1_000_000, ge=0, description="When more have ended, the oldest are forgotten, with their files."
    )
    bytes: Size = Field(
        default=20 * 10**9, ge=0, le=2**50, description="When files take more, the oldest jobs are forgotten first."
    )
