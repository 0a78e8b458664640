"""Logs: one line format, to the console and to a rotating file, without secrets and without waiting.

```
2026-03-01T09:30:00.125Z INFO    orchestrator_mcp.scheduler.runner [job_id=... attempt=1 backend_id=a] job completed
```

Fields come from `extra=` of the call or from `log_context`; a `-` stands where there are none. A traceback follows its
line, indented, so that no text from outside can pass for a line of ours.

Whoever logs only puts a record into a bounded queue; a thread per outlet writes. A full disk, a closed or stuck stderr
and a full queue cost lines, which are counted and told once there is room; they never stop the service. Leaving
`configure_logging` writes what still waits, for at most two seconds.
"""

from __future__ import annotations

import copy
import logging
import logging.handlers
import os
import queue
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from orchestrator_mcp.clock import format_time, from_millis
from orchestrator_mcp.errors import SettingsError
from orchestrator_mcp.redaction import escape, hide, redact

__all__ = ["LEVELS", "configure_logging", "escape", "hide", "log_context", "redact"]

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
FILE_NAME = "orchestrator.log"
FILE_BYTES = 5_000_000
FILES_KEPT = 3
MAX_WAITING = 10_000  # records in the queue of one outlet
MAX_TEXT = 8_192  # characters of one line
MAX_TRACE_LINES = 300
FLUSH_SECONDS = 2.0

_FIELDS = ("job_id", "attempt", "backend_id")
# (level, level under debug); mcp and uvicorn tell each request, which costs more than serving it, and the debug lines
# of httpcore and websockets are dumps of headers and frames
_QUIET: Mapping[str, tuple[int, int]] = {
    "PIL": (logging.WARNING, logging.INFO),
    "alembic": (logging.WARNING, logging.INFO),
    "asyncio": (logging.WARNING, logging.INFO),
    "httpcore": (logging.WARNING, logging.INFO),
    "httpcore2": (logging.WARNING, logging.INFO),
    "httpx": (logging.WARNING, logging.DEBUG),
    "httpx2": (logging.WARNING, logging.DEBUG),
    "mcp": (logging.WARNING, logging.DEBUG),
    "python_multipart": (logging.WARNING, logging.INFO),
    "sse_starlette": (logging.WARNING, logging.INFO),
    "uvicorn": (logging.WARNING, logging.INFO),
    "watchfiles": (logging.WARNING, logging.INFO),
    "websockets": (logging.WARNING, logging.INFO),
}

_context: ContextVar[Mapping[str, object]] = ContextVar("log_context", default={})  # noqa: B039  (never mutated)
_logger = logging.getLogger(__name__)


@contextmanager
def log_context(
    *, job_id: str | None = None, attempt: int | None = None, backend_id: str | None = None
) -> Iterator[None]:
    """Put these fields on every line that is logged inside, also by the tasks that are started inside.

    Args:
        job_id: the job, or None to leave what is bound outside.
        attempt: the attempt's number.
        backend_id: the backend.
    """
    given = {"job_id": job_id, "attempt": attempt, "backend_id": backend_id}
    bound = {name: value for name, value in given.items() if value is not None}
    token = _context.set({**_context.get(), **bound})
    try:
        yield
    finally:
        _context.reset(token)


@contextmanager
def configure_logging(log_dir: Path | None, level: str, *, console: bool = True) -> Iterator[None]:
    """Send the log to stderr and to `log_dir/orchestrator.log` (5 MB, 3 older ones kept).

    Args:
        log_dir: the folder, made if it is missing; None writes no file. Two processes must not share one.
        level: debug, info, warning or error.
        console: whether stderr gets the lines too.

    Raises:
        SettingsError: there is no such level. A folder that cannot be written is only a warning.
    """
    if level not in LEVELS:
        raise SettingsError(f"There is no log level {level[:40]!r}.", hint=f"Take one of {', '.join(LEVELS)}.")
    handlers: list[logging.Handler] = [_Console()] if console else []
    trouble = None if log_dir is None else _make_folder(log_dir)
    if log_dir is not None:
        handlers.append(_File(log_dir))
    outlets = [_Outlet(handler) for handler in handlers]
    with ExitStack() as stack:
        stack.callback(_close, outlets)
        _set_levels(LEVELS[level], stack)
        intake = _Intake(outlets)
        logging.getLogger().addHandler(intake)
        stack.callback(logging.getLogger().removeHandler, intake)
        logging.captureWarnings(True)
        stack.callback(logging.captureWarnings, False)
        if trouble:
            _logger.warning("The log folder %s cannot be used: %s. Mend log_dir or its permissions.", log_dir, trouble)
        yield


def _make_folder(folder: Path) -> str | None:
    """Make the folder; what is wrong, if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / FILE_NAME).open("ab"):
            return None
    except OSError as error:
        return error.strerror or type(error).__name__


def _set_levels(level: int, stack: ExitStack) -> None:
    debug = level == logging.DEBUG
    wanted = {name: max(level, levels[debug]) for name, levels in _QUIET.items()}
    for name, chosen in {"": level, **wanted}.items():
        logger = logging.getLogger(name)
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(chosen)


class _LineFormatter(logging.Formatter):
    """The one format: redacted, escaped, and a traceback that cannot pass for lines of ours."""

    def format(self, record: logging.LogRecord) -> str:
        moment = format_time(from_millis(int(record.created * 1000)))
        fields = " ".join(f"{name}={record.__dict__[name]}" for name in _FIELDS if name in record.__dict__)
        message = redact(record.getMessage())
        if len(message) > MAX_TEXT:
            message = f"{message[:MAX_TEXT]} ... (cut)"
        where = f"[{fields}]" if fields else "-"
        lines = [escape(f"{moment} {record.levelname:7} {record.name} {where} {message}")]
        for trace in (record.exc_text, record.stack_info):
            lines += _indent(redact(trace)) if trace else []
        return "\n".join(lines)


def _indent(trace: str) -> list[str]:
    lines = [f"    {escape(line)[:MAX_TEXT]}" for line in trace.split("\n")]
    if len(lines) > MAX_TRACE_LINES:
        half = MAX_TRACE_LINES // 2
        lines[half:-half] = [f"    ... {len(lines) - 2 * half} lines left out ..."]
    return lines


class _Losses:
    """Counts lost lines; the counting never waits for a disk."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._count = 0

    def add(self, count: int) -> None:
        with self._lock:
            self._count += count

    def take(self) -> int:
        with self._lock:
            taken, self._count = self._count, 0
            return taken


class _Stderr:
    """A copy of stderr without a buffer: nothing is left in it that could fail when the interpreter ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> None:
        content = text.encode("utf-8", "backslashreplace")
        while content:
            content = content[os.write(self._descriptor, content) :]

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class _Console(logging.StreamHandler[Any]):
    """Lines to stderr."""

    def __init__(self) -> None:
        super().__init__(_copy_stderr() or sys.stderr)

    def close(self) -> None:
        if isinstance(self.stream, _Stderr):
            self.stream.close()
        super().close()


class _File(logging.handlers.RotatingFileHandler):
    """Lines to the file; where it cannot be rotated, it grows, and where it was moved away, a new one begins."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder / FILE_NAME,
            maxBytes=FILE_BYTES,
            backupCount=FILES_KEPT,
            encoding="utf-8",
            errors="backslashreplace",
            delay=True,
        )

    def emit(self, record: logging.LogRecord) -> None:
        stream = self.stream
        if stream is not None and not self._is_in_place(stream.fileno()):
            with suppress(OSError):
                stream.close()
            self.stream = None
        super().emit(record)

    def _is_in_place(self, descriptor: int) -> bool:
        """Whether lines go into the file that people find: its folder may have been moved, deleted or mounted over."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.baseFilename))
        except OSError:
            return False

    def doRollover(self) -> None:
        try:
            super().doRollover()
        except OSError:  # on Windows, while another program reads it
            if self.stream is None:
                self.stream = self._open()


def _copy_stderr() -> _Stderr | None:
    try:
        return _Stderr(os.dup(sys.stderr.fileno()))
    except (AttributeError, OSError, ValueError):  # no stderr, or one that is not a file
        return None


class _Outlet:
    """A queue and the thread that writes what comes through it."""

    def __init__(self, handler: logging.Handler) -> None:
        # SimpleQueue, because a signal may interrupt a put and log something itself
        self._queue: queue.SimpleQueue[logging.LogRecord | None] = queue.SimpleQueue()
        self._losses = _Losses()
        self._failed = False
        self._out = handler
        self._out.setFormatter(_LineFormatter())
        self._out.handleError = self._note_failure  # type: ignore[method-assign]
        # a daemon, because one that is stuck in a full pipe must not keep the program from ending
        self._thread = threading.Thread(target=self._run, name=f"log-{type(handler).__name__.strip('_')}", daemon=True)
        self._thread.start()

    def offer(self, record: logging.LogRecord) -> None:
        """Hand over a record, or lose it if too many wait already; never waits."""
        if self._queue.qsize() >= MAX_WAITING:
            self._losses.add(1)
        else:
            self._queue.put(record)

    def close(self, timeout: float) -> None:
        """Write what waits, for at most `timeout` seconds."""
        self._queue.put(None)
        self._thread.join(timeout)
        if not self._thread.is_alive():
            with suppress(OSError, ValueError):
                self._out.close()

    def _run(self) -> None:
        while (record := self._queue.get()) is not None:
            self._tell_losses()
            if not self._write(record):
                self._losses.add(1)
        self._tell_losses()

    def _tell_losses(self) -> None:
        lost = self._losses.take()
        if lost and not self._write(_make_loss(lost)):
            self._losses.add(lost)

    def _write(self, record: logging.LogRecord) -> bool:
        self._failed = False
        # not handle(): it would hold the handler's lock while it writes, and the interpreter's end waits for that lock
        self._out.emit(record)
        return not self._failed

    def _note_failure(self, record: logging.LogRecord) -> None:
        self._failed = True


class _Intake(logging.Handler):
    """Makes a record independent of the moment it was logged in, and hands it to the outlets."""

    def __init__(self, outlets: list[_Outlet]) -> None:
        super().__init__()
        self._outlets = outlets

    def emit(self, record: logging.LogRecord) -> None:
        prepared = _prepare(record)
        for outlet in self._outlets:
            outlet.offer(prepared)


def _prepare(record: logging.LogRecord) -> logging.LogRecord:
    prepared = copy.copy(record)
    try:
        prepared.msg = record.getMessage()
    except Exception as error:  # noqa: BLE001  supervision boundary: a wrong log call must not stop what it tells of
        prepared.msg = f"{record.msg!r} (the log call is wrong: {type(error).__name__})"
    prepared.args = None
    if record.exc_info and not record.exc_text:
        prepared.exc_text = logging.Formatter().formatException(record.exc_info)
    prepared.exc_info = None
    for name, value in _context.get().items():
        prepared.__dict__.setdefault(name, value)
    for name in _FIELDS:
        if name in prepared.__dict__:
            prepared.__dict__[name] = str(prepared.__dict__[name])[:200]
    return prepared


def _make_loss(lost: int) -> logging.LogRecord:
    text = f"{lost} log lines were lost: they could not be written."
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)


def _close(outlets: list[_Outlet]) -> None:
    for outlet in outlets:
        outlet.close(FLUSH_SECONDS / len(outlets))
