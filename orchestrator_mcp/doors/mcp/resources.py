"""What agents may read by address: jobs, backends, workflows and output files, with completion of their names."""

from __future__ import annotations

import json
import logging
import secrets
from typing import Any, Final

import anyio
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.shared.uri_template import UriTemplate
from mcp.types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    Resource,
    ResourceTemplate,
    ResourceTemplateReference,
)

from orchestrator_mcp.domain.jobs import is_batch_id
from orchestrator_mcp.domain.text import plain, plain_or_none, told_values
from orchestrator_mcp.domain.views import View
from orchestrator_mcp.doors.mcp.manual import ICON
from orchestrator_mcp.doors.mcp.refusals import spell
from orchestrator_mcp.errors import NotFoundError, OrchestratorError
from orchestrator_mcp.service import JobService

JOB: Final = "job://{id}"
BACKEND: Final = "backend://{id}"
WORKFLOW: Final = "workflow://{id}"
OUTPUT: Final = "output://{job}/{name}"
LARGEST_OUTPUT: Final = 4 * 1024 * 1024  # bytes; larger files are fetched by url

_JSON: Final = "application/json"
_TEMPLATES: Final = (
    ("job", JOB, "Job", "Everything about a job or a batch: state, parameters, attempts, outputs.", _JSON),
    ("backend", BACKEND, "Render backend", "A machine: state, load, devices, what is warm.", _JSON),
    ("workflow", WORKFLOW, "Workflow", "A workflow of the library, with the JSON Schema of its parameters.", _JSON),
    ("output", OUTPUT, "Output file", "The bytes of a result, up to 4 MiB; larger ones have a url.", None),
)
_PARSED: Final = {uri: UriTemplate.parse(uri) for _, uri, _, _, _ in _TEMPLATES}
_LONGEST_URI: Final = 1000
_MOST_LISTED: Final = 100  # of each kind
_MOST_COMPLETED: Final = 100  # values of one completion, by the protocol
_SEARCHED: Final = 200  # newest jobs that are looked through for a completion
_log = logging.getLogger(__name__)


def templates() -> list[ResourceTemplate]:
    """What can be read, as clients are told."""
    return [
        ResourceTemplate(name=name, uri_template=uri, title=title, description=said, mime_type=media_type, icons=[ICON])
        for name, uri, title, said, media_type in _TEMPLATES
    ]


def is_known(uri: str) -> bool:
    """Whether an address is one of ours by its form."""
    return _matched(uri) is not None


def job_uri(job_id: str) -> str:
    """The address of a job."""
    return _PARSED[JOB].expand({"id": job_id})


def backend_uri(backend_id: str) -> str:
    """The address of a backend."""
    return _PARSED[BACKEND].expand({"id": backend_id})


def output_uri(job_id: str, name: str) -> str:
    """The address of an output file."""
    return _PARSED[OUTPUT].expand({"job": job_id, "name": name})


class Resources:
    """The readable side of one service.

    Args:
        service: what is asked.
    """

    def __init__(self, service: JobService) -> None:
        self._service = service

    async def listed(self) -> list[Resource]:
        """The machines and the workflows: few, and worth a look. Jobs are found with list_jobs."""
        backends = self._service.backends()[:_MOST_LISTED]
        workflows = (await self._service.workflows())[:_MOST_LISTED]
        return [
            *(
                Resource(
                    name=plain(view.id, limit=200),
                    uri=backend_uri(view.id),
                    title=plain(view.name, limit=200),
                    mime_type=_JSON,
                )
                for view in backends
            ),
            *(
                Resource(
                    name=plain(view.id, limit=200),
                    uri=_PARSED[WORKFLOW].expand({"id": view.id}),
                    title=plain_or_none(view.title, limit=200),
                    mime_type=_JSON,
                )
                for view in workflows
            ),
        ]

    async def read(self, uri: str, *, base_url: str | None) -> list[ReadResourceContents]:
        """Read what lies at an address.

        Args:
            uri: as the templates say.
            base_url: what the urls in it begin with.

        Raises:
            ResourceNotFoundError: there is no such thing.
            ResourceError: it cannot be read now; the text says why.
        """
        try:
            return [await self._read(uri, base_url)]
        except NotFoundError as error:
            raise ResourceNotFoundError(spell(error)) from error
        except OrchestratorError as error:
            raise ResourceError(spell(error)) from error
        except ResourceError:
            raise
        except Exception as error:
            reference = secrets.token_hex(4)
            _log.exception("A resource could not be read (reference %s)", reference)
            raise ResourceError(
                f"Reading it failed inside the orchestrator. Tell a person to look for reference {reference} in its "
                "log."
            ) from error

    async def complete(
        self,
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        """The names that begin with what is typed so far, newest jobs first; then those that have it within.

        Args:
            ref: the template or prompt.
            argument: what is being typed.
            context: what was typed before.
        """
        where = ref.uri if isinstance(ref, ResourceTemplateReference) else None
        known = await self._names(where, argument.name, (context and context.arguments) or {})
        typed = argument.value.casefold()
        first = [name for name in known if name.casefold().startswith(typed)]
        fitting = [*first, *(name for name in known if typed in name.casefold() and name not in set(first))]
        return Completion(values=fitting[:_MOST_COMPLETED], total=len(fitting), has_more=len(fitting) > _MOST_COMPLETED)

    async def _names(self, where: str | None, argument: str, before: dict[str, str]) -> list[str]:
        match where, argument:
            case (_, "workflow_id") | ("workflow://{id}", "id"):
                return [view.id for view in await self._service.workflows()]
            case (_, "backend_id") | ("backend://{id}", "id"):
                return [view.id for view in self._service.backends()]
            case (_, "job_id") | ("job://{id}", "id") | ("output://{job}/{name}", "job"):
                page = await self._service.jobs(limit=_SEARCHED)
                return [view.job_id for view in page.jobs]
            case ("output://{job}/{name}", "name"):
                return await self._output_names(before.get("job", ""))
            case _:
                return []

    async def _output_names(self, job_id: str) -> list[str]:
        try:
            return [view.name for view in await self._service.outputs(job_id)]
        except NotFoundError:
            return []

    async def _read(self, uri: str, base_url: str | None) -> ReadResourceContents:
        found = _matched(uri)
        if found is None:
            addresses = ", ".join(template for _, template, _, _, _ in _TEMPLATES)
            raise ResourceNotFoundError(f"There is nothing at {plain(uri, limit=200)!r}. Addresses are {addresses}.")
        template, names = found
        match template:
            case "job://{id}" if is_batch_id(names["id"]):
                return _document(await self._service.batches.batch(names["id"], base_url=base_url))
            case "job://{id}":
                return _document(await self._service.job(names["id"], base_url=base_url))
            case "backend://{id}":
                return _document(self._service.backend(names["id"]))
            case "workflow://{id}":
                return _document(await self._service.workflow(names["id"]))
            case _:
                return await self._output(names["job"], names["name"], base_url)

    async def _output(self, job_id: str, name: str, base_url: str | None) -> ReadResourceContents:
        file = await self._service.output_file(job_id, name)
        if file.view.size > LARGEST_OUTPUT:
            views = await self._service.outputs(job_id, base_url=base_url)
            url = next((view.url for view in views if view.name == name), file.view.url)
            raise ResourceError(
                f"The file has {file.view.size:,} bytes, and at most {LARGEST_OUTPUT:,} are read this way. Fetch "
                f"{url}, or call get_preview to see it small."
            )
        try:
            content = await anyio.Path(file.path).read_bytes()
        except FileNotFoundError:
            raise ResourceNotFoundError("The file is no longer kept here; its copy may still lie in Outbox.") from None
        return ReadResourceContents(content=content, mime_type=file.view.media_type)


def _matched(uri: str) -> tuple[str, dict[str, str]] | None:
    if len(uri) > _LONGEST_URI:
        return None
    for template, parsed in _PARSED.items():
        names = parsed.match(uri)
        if names is not None:
            return template, {name: value for name, value in names.items() if isinstance(value, str)}
    return None


def _document(view: View) -> ReadResourceContents:
    """A view as bounded text: what it quotes is capped and stripped."""
    values: Any = told_values(view.model_dump(mode="json", exclude_none=True))
    return ReadResourceContents(content=json.dumps(values, ensure_ascii=False, indent=1), mime_type=_JSON)
