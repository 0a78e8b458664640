"""config.yaml -> one frozen `Settings`; the only reader of the environment in this package.

The models say what a key is and which values it takes; `Needs` gives the words for it, which the messages and the
documentation share. What pydantic itself says about a wrong value never reaches a person.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from orchestrator_mcp.domain.limits import QueueLimits
from orchestrator_mcp.errors import SettingsError
from orchestrator_mcp.files import is_missing
from orchestrator_mcp.redaction import hide
from orchestrator_mcp.settings.checking import ClashError, Needs, check_config, explain_needs, show_found
from orchestrator_mcp.settings.config_file import ConfigFile, ConfigProblem, KeyPath, read_config, spell_key
from orchestrator_mcp.settings.kinds import SECTION, Folder
from orchestrator_mcp.settings.scheduling import SchedulingSettings
from orchestrator_mcp.settings.sections import (
    MAX_SLOTS,
    AssetSettings,
    BackendSettings,
    LimitSettings,
    PolicySettings,
    RetentionSettings,
    ServerSettings,
)

__all__ = [
    "BackendSettings",
    "LimitSettings",
    "RetentionSettings",
    "SchedulingSettings",
    "ServerSettings",
    "Settings",
    "load_settings",
    "locate_config",
]

CONFIG_NAME = "config.yaml"
CONFIG_VARIABLE = "ORCHESTRATOR_CONFIG"
_TAKEN = "its files would be taken for manifests"


class Settings(BaseModel):
    """Everything that config.yaml decides.

    Attributes:
        config_file: the file that was read; None when there is none.
        warnings: what loading had to say, in sentences for the log.
    """

    model_config = SECTION

    config_file: Path | None = Field(default=None, exclude=True)
    data_dir: Folder = Field(default=Path("data"), description="The database and the output files.")
    log_dir: Folder = Field(default=Path("logs"), description="`orchestrator.log` and its predecessors.")
    inbox_dir: Folder = Field(default=Path("Inbox"), description="Manifests dropped here become jobs.")
    outbox_dir: Folder = Field(default=Path("Outbox"), description="Finished jobs are delivered here.")
    workflows_dirs: Annotated[tuple[Folder, ...], Field(min_length=1), Needs("a folder or a list of folders")] = Field(
        default=(Path("workflows"),),
        validation_alias="workflows_dir",
        description="Named workflows, `<workflow_id>.json`, and what they take, `<workflow_id>.yaml`. "
        "In several folders, the first that has it.",
    )
    outbox: Annotated[Literal["all", "inbox"], Needs("all or inbox")] = Field(
        default="all", description="Which jobs are delivered: all, or only those that came through the Inbox."
    )
    backends: Annotated[tuple[BackendSettings, ...], Field(max_length=10_000), Needs("a list of backends")] = Field(
        default=(), description="The farm. Without any, the built-in sandbox renders placeholder pictures."
    )
    server: ServerSettings = Field(default=ServerSettings(), description="Where the orchestrator listens.")
    scheduling: SchedulingSettings = Field(default=SchedulingSettings(), description="Dispatch, probes and retries.")
    limits: LimitSettings = Field(default=LimitSettings(), description="What is refused as too much.")
    policy: PolicySettings = Field(default=PolicySettings(), description="What the farm is not for.")
    assets: AssetSettings = Field(default=AssetSettings(), description="Where input files may be taken from.")
    retention: RetentionSettings = Field(default=RetentionSettings(), description="How long finished jobs are kept.")
    warnings: tuple[str, ...] = Field(default=(), exclude=True)

    @field_validator("config_file", mode="after")
    @classmethod
    def _locate_file(cls, path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.abspath(path))

    @field_validator("data_dir", "log_dir", "inbox_dir", "outbox_dir", mode="after")
    @classmethod
    def _locate_folder(cls, path: Path, info: ValidationInfo) -> Path:
        return _beside(info.data.get("config_file"), path)

    @field_validator("workflows_dirs", mode="after")
    @classmethod
    def _locate_folders(cls, paths: tuple[Path, ...], info: ValidationInfo) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(_beside(info.data.get("config_file"), path) for path in paths))

    @field_validator("server", mode="after")
    @classmethod
    def _locate_tokens(cls, server: ServerSettings, info: ValidationInfo) -> ServerSettings:
        if server.tokens_file is None:
            return server
        return server.model_copy(update={"tokens_file": _beside(info.data.get("config_file"), server.tokens_file)})

    @field_validator("assets", mode="after")
    @classmethod
    def _locate_roots(cls, assets: AssetSettings, info: ValidationInfo) -> AssetSettings:
        roots = dict.fromkeys(_beside(info.data.get("config_file"), path) for path in assets.roots)
        return assets.model_copy(update={"roots": tuple(roots)})

    @field_validator("workflows_dirs", mode="before")
    @classmethod
    def _take_one_folder(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str | Path) else value

    @field_validator("backends", mode="after")
    @classmethod
    def _refuse_twins(cls, backends: tuple[BackendSettings, ...]) -> tuple[BackendSettings, ...]:
        seen: set[str] = set()
        for backend in backends:
            if backend.id.casefold() in seen:
                raise ValueError(f"two backends have the id {backend.id!r}; each needs its own")
            seen.add(backend.id.casefold())
        return backends

    @model_validator(mode="after")
    def _check_folders(self) -> Self:
        if (clash := _find_clash(self)) is not None:
            raise clash
        return self

    @property
    def limits_in_force(self) -> LimitSettings:
        """The limits, with what holds for those that are not written: none on loopback, some beyond it."""
        return self.limits.in_force(exposed=self.server.exposed)

    @property
    def queue_limits(self) -> QueueLimits:
        """How many jobs may wait, of all and of each source."""
        scheduling = self.scheduling
        return QueueLimits(
            total=self.limits_in_force.queued_jobs, by_source=scheduling.max_queued, word=scheduling.share_by
        )

    def with_server(self, *, host: str | None = None, port: int | None = None) -> Settings:
        """The same settings with what the command line said about the server.

        Args:
            host: the address to listen on; None leaves it.
            port: 0 to 65535, where 0 takes a free one; None leaves it.

        Raises:
            SettingsError: the host or port is no such thing.
        """
        given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
        for name, value in given.items():
            try:
                ServerSettings.model_validate({name: value})
            except ValidationError:
                needs = explain_needs(ServerSettings.model_fields[name])
                raise SettingsError(f"--{name}: found {show_found(value)}; {needs} is needed.") from None
        server = ServerSettings.model_validate({**self.server.model_dump(), **given})
        return self.model_copy(update={"server": server})


def locate_config(explicit: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Path | None:
    """Find the configuration: the one named, else `$ORCHESTRATOR_CONFIG`, `./config.yaml`, the user's own.

    Args:
        explicit: the file that the command line named.
        environ: the environment; the real one unless given.

    Returns:
        An absolute path, or None when nothing is named and nothing is there.

    Raises:
        SettingsError: a file was named and does not exist.
    """
    named = (os.environ if environ is None else environ).get(CONFIG_VARIABLE, "").strip()
    for source, path in (("--config", explicit), (f"${CONFIG_VARIABLE}", Path(named) if named else None)):
        if path is None:
            continue
        found = Path(os.path.abspath(path.expanduser()))
        if is_missing(found):
            raise SettingsError(
                f"{source} names {found}, and there is no such file.", hint="Mend the path, or leave it out."
            )
        return found
    own = Path(platformdirs.user_config_path("orchestrator-mcp", appauthor=False)) / CONFIG_NAME
    # whatever has the name is taken: a folder or a broken link there is told, and not passed over in silence
    return next((Path(os.path.abspath(path)) for path in (Path(CONFIG_NAME), own) if os.path.lexists(path)), None)


def load_settings(
    path: Path | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the configuration and check all of it before anything starts.

    Args:
        path: the file that the command line named; None looks in the usual places, see `locate_config`.
        host: replaces `server.host`.
        port: replaces `server.port`.
        environ: the environment; the real one unless given.

    Raises:
        SettingsError: the file is missing or wrong; one message tells every problem.
    """
    found = locate_config(path, environ=environ)
    if found is None:
        return Settings().with_server(host=host, port=port)
    config = read_config(found)
    old = _take_old_keys(config)
    _find_twins(config)
    settings = check_config(
        config, Settings, given={"config_file": found, "warnings": ()}, hidden=frozenset({"headers"})
    )
    _hide_headers(settings)
    return settings.model_copy(update={"warnings": (*old, *_find_oddities(settings))}).with_server(host=host, port=port)


def _hide_headers(settings: Settings) -> None:
    """Keep the texts of headers out of every log line, also the token alone behind its scheme."""
    for backend in settings.backends:
        for text in backend.headers.values():
            hide(text.get_secret_value())
            hide(text.get_secret_value().rpartition(" ")[2])


def _beside(config_file: Path | None, path: Path) -> Path:
    return Path(os.path.abspath(config_file.parent / path if config_file else path))


def _find_clash(settings: Settings) -> ClashError | None:
    """Two folders that may not lie as they do, told at the key that the file has."""
    inbox, outbox = settings.inbox_dir, settings.outbox_dir
    if _is_within(inbox, outbox) or _is_within(outbox, inbox):
        rule = f"inbox_dir ({inbox}) and outbox_dir ({outbox}) must be two folders, neither inside the other"
        return ClashError(rule, "inbox_dir", "outbox_dir")
    if _is_within(settings.data_dir, inbox):
        return ClashError(f"data_dir must not be in inbox_dir ({inbox}): {_TAKEN}", "data_dir", "inbox_dir")
    if any(_is_within(folder, inbox) for folder in settings.workflows_dirs):
        return ClashError(f"workflows_dir must not be in inbox_dir ({inbox}): {_TAKEN}", "workflows_dir", "inbox_dir")
    return None


def _is_within(folder: Path, other: Path) -> bool:
    return folder == other or other in folder.parents


def _take_old_keys(config: ConfigFile) -> list[str]:
    """Take what an older file calls differently, and say so."""
    said = []
    if config.values.pop("database_path", None) is not None:
        said.append("database_path is ignored: the database lies in data_dir. Remove the key.")
    backends = config.values.get("backends")
    for index, entry in enumerate(backends if isinstance(backends, list) else ()):
        if not isinstance(entry, dict) or "tags" not in entry:
            continue
        if entry.get("capabilities") is None:
            entry.pop("capabilities", None)
            config.rename(("backends", index), entry, "tags", "capabilities")
            said.append(f"backends[{index}].tags is taken for capabilities. Rename the key.")
        else:
            del entry["tags"]
            said.append(f"backends[{index}].tags is ignored, because capabilities are given. Remove the key.")
    return said


def _find_twins(config: ConfigFile) -> None:
    backends = config.values.get("backends")
    first: dict[str, int] = {}
    for index, entry in enumerate(backends if isinstance(backends, list) else ()):
        name = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            continue
        key: KeyPath = ("backends", index, "id")
        if (other := first.setdefault(name.casefold(), index)) != index:
            line = config.line_of(("backends", other, "id"))
            message = f"found {show_found(name)}, which is also the id of the backend on line {line}; ids are unique."
            config.problems.append(ConfigProblem(line=config.line_of(key), key=spell_key(key), message=message))


def _find_shared_addresses(settings: Settings) -> list[str]:
    """Backends of which two are one server, as far as their addresses tell."""
    said = []
    addresses: dict[tuple[str, int], str] = {}
    for backend in settings.backends:
        if not backend.enabled:
            continue
        other = addresses.setdefault(backend.place, backend.id)
        if other != backend.id:
            said.append(
                f"The backends {other} and {backend.id} have the same address, {backend.url}, and one server renders "
                "one job at a time. Remove one of them from the configuration."
            )
    return said


def _find_oddities(settings: Settings) -> list[str]:
    said = _find_shared_addresses(settings)
    for backend in settings.backends:
        if backend.max_concurrent_jobs > MAX_SLOTS:
            said.append(
                f"Backend {backend.id}: max_concurrent_jobs {backend.max_concurrent_jobs} acts as {MAX_SLOTS}: ComfyUI "
                "renders one job at a time, and one more standing by closes the gap."
            )
    if os.sep == "/":
        folders = (
            settings.data_dir,
            settings.log_dir,
            settings.inbox_dir,
            settings.outbox_dir,
            *settings.workflows_dirs,
        )
        said += [
            f"{folder.name} looks like a Windows path; on this system it becomes {folder}."
            for folder in folders
            if "\\" in folder.name
        ]
    return said
