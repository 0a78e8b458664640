"""How a command ends: the exit codes, and what is said when something is wrong. Never a traceback for a known error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from orchestrator_mcp.errors import DataDirInUseError, ManifestError, OrchestratorError, SettingsError
from orchestrator_mcp.redaction import escape


class ExitCode(IntEnum):
    """What the shell is told.

    Attributes:
        OK: done.
        FAILED: the job failed or was cancelled, the server said no, or something cannot be had.
        USAGE: the command line or the configuration is wrong.
        UNREACHABLE: no orchestrator answers.
        IN_USE: another orchestrator has the data dir (EX_CANTCREAT of sysexits.h): a supervisor need not try again.
        INTERRUPTED: Ctrl-C, as shells spell it.
    """

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    IN_USE = 73
    INTERRUPTED = 130


class UsageError(OrchestratorError):
    """The command line asks for something that makes no sense."""

    code = "wrong_usage"


class UnreachableError(OrchestratorError):
    """No orchestrator answers where one was looked for."""

    code = "unreachable"


_USAGE = (SettingsError, UsageError, ManifestError)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Say known errors in words on stderr and leave with their exit code.

    Raises:
        typer.Exit: for every error of the product's tree, also those in a task group's bundle, and for Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (OrchestratorError, BaseExceptionGroup) as error:
        cause = known_cause(error)
        if cause is None:
            raise
        say_error(cause)
        raise typer.Exit(exit_code_of(cause)) from None


def known_cause(error: BaseException) -> OrchestratorError | None:
    """The first error of the product's tree in a bundle; None when anything else is in it too.

    Args:
        error: an error, or the bundle that a task group made of some.
    """
    if isinstance(error, BaseExceptionGroup):
        causes = [known_cause(inner) for inner in error.exceptions]
        return None if None in causes else causes[0]
    return error if isinstance(error, OrchestratorError) else None


def exit_code_of(error: OrchestratorError) -> ExitCode:
    """The exit code that tells this error."""
    if isinstance(error, UnreachableError):
        return ExitCode.UNREACHABLE
    if isinstance(error, DataDirInUseError):
        return ExitCode.IN_USE
    return ExitCode.USAGE if isinstance(error, _USAGE) else ExitCode.FAILED


def say_error(error: OrchestratorError) -> None:
    """Write the message, and the hint below it, to stderr."""
    say(f"Error: {error.message}")
    if error.hint:
        say(f"  {error.hint}")


def say(text: str) -> None:
    """Write lines to stderr; whatever would steer the terminal is spelled out.

    Args:
        text: may have several lines.
    """
    lines = [escape(line) for line in text.split("\n")]
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()
