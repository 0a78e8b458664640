"""The files that a render begins with: what a manifest says of them, found, judged and kept before it is queued."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from orchestrator_mcp.artifacts import ArtifactStore, StoredFile
from orchestrator_mcp.assets import (
    Found,
    OutsideError,
    inline_content,
    is_inline,
    judge,
    open_below,
    open_under_roots,
    try_decoding,
)
from orchestrator_mcp.clock import Clock
from orchestrator_mcp.domain.assets import Asset, fits
from orchestrator_mcp.domain.chains import JobInput
from orchestrator_mcp.domain.manifests import Manifest
from orchestrator_mcp.domain.references import AssetReference, PathReference, parse_reference
from orchestrator_mcp.errors import ArtifactError, ManifestError, NotFoundError, Problem
from orchestrator_mcp.files import NotRegularError
from orchestrator_mcp.service.acceptance import MOST_PROBLEMS, is_large
from orchestrator_mcp.service.workflows import FoundWorkflow
from orchestrator_mcp.settings import CurrentSettings
from orchestrator_mcp.store import JobStore, NewJob
from orchestrator_mcp.workflows.input_files import targets_of, values_at

log = logging.getLogger(__name__)

PIECE: Final = 1 << 20  # bytes read from a file at once
DECODERS: Final = 2  # pictures decoded at one time: each may take some hundred megabytes
_UPLOAD: Final = "Upload it with POST /api/assets, or `orchestrator-mcp submit --input name=FILE`."
_ROOTS: Final = (
    "Upload the file (POST /api/assets), put it into the job's Inbox folder, or ask for its folder in assets.roots."
)


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A manifest whose files are known.

    Attributes:
        manifest: the one to bind; a file's parameter holds what the file is called on a backend.
        asked: the manifest as it came: what is sent again under the same key is the same wish, whatever its files hold.
        given: parameters that a job shows otherwise than they are bound.
        files: the file of each parameter.
        written: the files that the graph itself names, by `node.input`.
        takes: what each input takes that names a file, by `node.input`.
    """

    manifest: Manifest
    asked: Manifest
    given: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Asset] = field(default_factory=dict)
    written: Mapping[str, Asset] = field(default_factory=dict)
    takes: Mapping[str, str] = field(default_factory=dict)

    def onto(self, new: NewJob) -> NewJob:
        """The job with its files on record.

        Args:
            new: made from `manifest`.
        """
        if not (self.files or self.written):
            return new
        spec = new.spec
        placed = {
            target: asset
            for name, asset in self.files.items()
            for target in spec.targets.get(name, ())
            if target in self.takes
        }
        inputs = [
            JobInput(target=target, sha256=asset.sha256, extension=asset.extension)
            for target, asset in {**self.written, **placed}.items()
        ]
        bound = {name: self.manifest.parameters[name] for name in self.given}
        changed = replace(
            spec,
            parameters={**spec.parameters, **self.given},
            values={**spec.values, **bound},
            inputs=[*spec.inputs, *inputs],
        )
        return replace(new, spec=changed)


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """One value that may name a file: of a parameter, or in the graph."""

    name: str
    value: Any
    takes: str
    at: tuple[str, ...]
    in_graph: bool = False


class InputFiles:
    """Finds, judges and keeps the files that renders begin with.

    Args:
        store: what is on record of them.
        artifacts: where their bytes lie.
        settings: the folders that they may come from, and how large they may be.
        clock: the time.
    """

    def __init__(self, *, store: JobStore, artifacts: ArtifactStore, settings: CurrentSettings, clock: Clock) -> None:
        self._store = store
        self._artifacts = artifacts
        self._settings = settings
        self._clock = clock
        self._decoders = anyio.CapacityLimiter(DECODERS)

    async def settle(self, manifest: Manifest, found: FoundWorkflow, *, beside: Path | None = None) -> Settled:
        """Find every file that a manifest names.

        Args:
            manifest: what the caller wants.
            found: its workflow.
            beside: the job folder that the manifest came in.

        Raises:
            ManifestError: one problem for each file that cannot be had, with the code `asset_missing`,
                `asset_outside_roots`, `asset_not_decodable`, `asset_wrong_kind`, `asset_too_large`, `asset_unknown`
                or `reference`.
            StorageError: a file cannot be kept now.
        """
        look = partial(_wanted, manifest, found)
        wanted, takes = await anyio.to_thread.run_sync(look) if is_large(found.graph) else look()
        if not wanted:
            return Settled(manifest=manifest, asked=manifest)
        files: dict[str, Asset] = {}
        written: dict[str, Asset] = {}
        problems: list[Problem] = []
        for one in wanted:
            try:
                known = await self._find(one, beside)
            except ManifestError as error:
                problems.extend(error.problems)
                if len(problems) >= MOST_PROBLEMS:
                    break
                continue
            if known is not None:
                (written if one.in_graph else files)[one.name] = known
        if problems:
            raise ManifestError(problems, hint=_UPLOAD)
        given = {
            name: asset.reference if is_inline(manifest.parameters[name]) else manifest.parameters[name]
            for name, asset in files.items()
        }
        bound = {**manifest.parameters, **{name: asset.name for name, asset in files.items()}}
        return Settled(
            manifest=manifest.model_copy(update={"parameters": bound}),
            asked=manifest,
            given=given,
            files=files,
            written=written,
            takes=takes,
        )

    async def keep(
        self,
        chunks: AsyncIterator[bytes],
        *,
        declared_length: int | None = None,
        name_hint: str = "",
        wanted: str | None = None,
        at: tuple[str, ...] = ("body",),
    ) -> tuple[Asset, bool]:
        """Take a file in, judge it and put it on record.

        Args:
            chunks: its bytes.
            declared_length: how many there are, if somebody said so.
            name_hint: what it was called; only tells kinds of text apart.
            wanted: the type of the input that it is for.
            at: where it stands, for messages.

        Returns:
            The file, and whether it was on record before.

        Raises:
            ManifestError: it cannot be an input.
            StorageError: it cannot be kept now.
        """
        most = self._settings.now.limits.upload_bytes

        async def check(stored: StoredFile, path: Path) -> None:
            size = None if stored.width is None or stored.height is None else (stored.width, stored.height)
            judge(stored.kind, stored.media_type, size, wanted=wanted, at=at)
            decode = partial(try_decoding, path, stored.extension, size and size[0] * size[1], at=at)
            await anyio.to_thread.run_sync(decode, limiter=self._decoders)

        try:
            stored = await self._artifacts.receive(
                _at_most(chunks, most, at),
                declared_length=declared_length,
                name_hint=name_hint,
                most=most,
                check=check,
            )
        except ArtifactError as error:
            raise ManifestError.at(*at, message=_lower(error.message), code="asset_not_decodable") from error
        asset = Asset(
            sha256=stored.sha256,
            extension=stored.extension,
            kind=stored.kind,
            media_type=stored.media_type,
            size=stored.size,
        )
        return asset, await self._store.keep_asset(asset, self._clock.now())

    async def file(self, sha256: str) -> tuple[Asset, Path]:
        """A file that is on record, and where it lies. Raises NotFoundError."""
        asset = await self._store.asset(sha256)
        if asset is None:
            raise NotFoundError("asset", sha256)
        return asset, self._artifacts.path_of(sha256)

    async def _find(self, one: _Wanted, beside: Path | None) -> Asset | None:
        """The file that a value names; None for an output of another job, and for a file on the backend."""
        if is_inline(one.value):
            content = inline_content(one.value, at=one.at)
            return (await self.keep(_whole(content), wanted=one.takes, at=one.at))[0]
        try:
            reference = parse_reference(one.value)
        except ValueError as error:
            raise ManifestError.at(*one.at, message=str(error), code="reference") from error
        if isinstance(reference, AssetReference):
            return await self._known(reference, one)
        if isinstance(reference, PathReference) and not one.in_graph:
            return await self._taken(reference, one, beside)
        return None

    async def _known(self, reference: AssetReference, one: _Wanted) -> Asset | None:
        asset = await self._store.asset(reference.sha256)
        if asset is None or not await self._artifacts.renew(reference.sha256):
            if not reference.certain:
                return None
            message = f"there is no asset {reference.sha256} here, or not any more"
            raise ManifestError.at(*one.at, message=message, code="asset_unknown", hint=_UPLOAD)
        if not fits(asset.kind, one.takes):
            judge(asset.kind, asset.media_type, None, wanted=one.takes, at=one.at)
        await self._store.keep_asset(asset, self._clock.now())
        return asset

    async def _taken(self, reference: PathReference, one: _Wanted, beside: Path | None) -> Asset | None:
        found = await anyio.to_thread.run_sync(partial(self._opened, reference, one.at, beside))
        if found is None:
            return None
        with found.file:
            if found.size > (most := self._settings.now.limits.upload_bytes):
                raise _too_large(most, one.at)
            chunks = _pieces(found)
            return (
                await self.keep(chunks, declared_length=found.size, name_hint=found.name, wanted=one.takes, at=one.at)
            )[0]

    def _opened(self, reference: PathReference, at: tuple[str, ...], beside: Path | None) -> Found | None:
        """Open a file by its path: beside the manifest first, then under the roots. Runs in a thread."""
        shown = reference.path[:200]
        try:
            if beside is not None and not reference.absolute:
                try:
                    return open_below(beside, reference.parts)
                except FileNotFoundError:
                    pass
            return open_under_roots(self._settings.now.assets.roots, reference)
        except OutsideError as error:
            message = (
                f"{shown!a} leads over {error.strerror}" if error.strerror == "a link" else f"{shown!a} is no file"
            )
            words = f"{message}; files come from the configured folders, and no link is followed"
            raise ManifestError.at(*at, message=words, code="asset_outside_roots", hint=_ROOTS) from error
        except FileNotFoundError as error:
            message = f"there is no file {shown!a}"
            raise ManifestError.at(*at, message=message, code="asset_missing") from error
        except NotRegularError as error:
            message = f"{shown!a} is a folder, pipe or device; a plain file is needed"
            raise ManifestError.at(*at, message=message, code="asset_missing") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            message = f"{shown!a} cannot be read: {reason}"
            raise ManifestError.at(*at, message=message, code="asset_missing") from error


def _wanted(manifest: Manifest, found: FoundWorkflow) -> tuple[list[_Wanted], dict[str, str]]:
    """Every value that may name a file, and what each input takes that names one."""
    takes: dict[str, str] = dict(found.takes)
    if not takes:
        return [], {}
    named = [name for name, value in manifest.parameters.items() if isinstance(value, str) or is_inline(value)]
    wanted, covered = [], set[str]()
    for name, targets in targets_of(found.graph, found.declared, named).items():
        of_files = [target for target in targets if target in takes]
        covered.update(of_files)
        if of_files:
            value, kind = manifest.parameters[name], takes[of_files[0]]
            wanted.append(_Wanted(name=name, value=value, takes=kind, at=("parameters", name)))
    defaults = {
        target: view.default
        for view in found.declared
        if view.name not in manifest.parameters
        for target in view.targets
    }
    for target, written in values_at(found.graph, list(takes)).items():
        present = defaults.get(target) or written
        if target not in covered and isinstance(present, str):
            at = ("workflow", target)
            wanted.append(_Wanted(name=target, value=present, takes=takes[target], at=at, in_graph=True))
    return wanted, takes


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _pieces(found: Found) -> AsyncIterator[bytes]:
    while piece := await anyio.to_thread.run_sync(found.file.read, PIECE):
        yield piece


async def _at_most(chunks: AsyncIterator[bytes], most: int, at: tuple[str, ...]) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise _too_large(most, at)
        yield chunk


def _too_large(most: int, at: tuple[str, ...]) -> ManifestError:
    message = f"has more than the {most:,} bytes that limits.upload_bytes allows"
    return ManifestError.at(*at, message=message, code="asset_too_large", hint="Make it smaller, or raise the limit.")


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
