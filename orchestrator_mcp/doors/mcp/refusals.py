"""How errors reach a model: as words that say what is wrong and how to mend the call."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, Prompt
from pydantic import ValidationError

from orchestrator_mcp.domain.access import Caller, Scope
from orchestrator_mcp.domain.manifests import problems_in
from orchestrator_mcp.domain.text import plain
from orchestrator_mcp.doors.mcp.callers import caller_of
from orchestrator_mcp.errors import (
    ManifestError,
    NotFoundError,
    OrchestratorError,
    Problem,
    UnavailableError,
    nearest,
)

_log = logging.getLogger(__name__)
_MOST_PROBLEMS = 20
_LOOK_IN = {
    "workflow": "Call list_workflows for the names.",
    "backend": "Call list_backends for the ids.",
    "job": "Take the job_id that submit_job gave; list_jobs finds earlier jobs.",
}


class CheckedTool(Tool):
    """A tool that refuses unknown arguments and turns every failure into words for the model.

    Attributes:
        needs: the scope that a caller must have.
    """

    needs: Scope = Scope.READ

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Run the tool.

        Raises:
            ToolError: always with a text that the model can act on.
            MCPError: for the protocol, untouched.
        """
        self._refuse_without_scope(caller_of(context))
        refuse_unknown(self.name, arguments, allowed=self.fn_metadata.arg_model.model_fields)
        try:
            return await super().run(arguments, context, convert_result)
        except UnexpectedToolError as error:
            raise self._in_words(error.__cause__ or error) from error.__cause__
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(spell_validation(error.__cause__)) from error.__cause__
            raise

    def _refuse_without_scope(self, caller: Caller) -> None:
        if not caller.may(self.needs):
            raise ToolError(
                f"{self.name} needs a token with the scope {self.needs}; the token {caller.name!r} has {caller.scope}. "
                "Nothing was changed. Ask a person for a token with that scope."
            )

    def _in_words(self, cause: BaseException) -> ToolError:
        if isinstance(cause, OrchestratorError):
            return ToolError(spell(cause, queued_nothing=self.needs is Scope.SUBMIT))
        reference = secrets.token_hex(4)
        _log.error("Tool %s failed unexpectedly (reference %s)", self.name, reference, exc_info=cause)
        return ToolError(
            f"{self.name} failed inside the orchestrator; nothing in the call is known to be wrong. "
            f"Try once more; if it stays, tell a person to look for reference {reference} in its log."
        )


def refuse_unknown(tool: str, arguments: Iterable[str], *, allowed: Iterable[str]) -> None:
    """Refuse a call that carries arguments which the tool does not have.

    Raises:
        ToolError: names them, the nearest real ones, and all that are allowed.
    """
    names = list(allowed)
    unknown = sorted(str(name)[:80] for name in arguments if name not in names)
    if not unknown:
        return
    near = sorted({found for name in unknown for found in nearest(name, names, most=1)})
    parts = [
        f"Unknown argument{'s' if len(unknown) > 1 else ''} for {tool}: {', '.join(unknown[:_MOST_PROBLEMS])}.",
        f"Did you mean {', '.join(near)}?" if near else "",
        f"Allowed: {', '.join(names)}." if names else "It takes none.",
        "Values for the workflow (prompt, seed, steps, …) go inside parameters." if "parameters" in names else "",
    ]
    raise ToolError(plain(" ".join(part for part in parts if part)))


def require_tool(name: str, names: Sequence[str]) -> None:
    """Refuse a tool that does not exist.

    Raises:
        ToolError: names those that do.
    """
    if name not in names:
        near = nearest(name, names, most=1)
        question = f" Did you mean {near[0]}?" if near else ""
        raise ToolError(plain(f"There is no tool {name[:200]!r}.{question} Tools are {', '.join(names)}."))


def require_prompt(name: str, arguments: Iterable[str], prompts: Sequence[Prompt]) -> None:
    """Refuse a prompt that does not exist, and arguments that it does not have or has to have.

    Raises:
        MCPError: names what exists.
    """
    named = next((prompt for prompt in prompts if prompt.name == name), None)
    if named is None:
        names = ", ".join(prompt.name for prompt in prompts)
        raise MCPError(INVALID_PARAMS, plain(f"There is no prompt {name[:200]!r}. Prompts are {names}."))
    declared, given = named.arguments or [], set(arguments)
    known = [argument.name for argument in declared]
    wrong = [
        *(f"{argument.name} is missing" for argument in declared if argument.required and argument.name not in given),
        *(f"{unknown[:80]} is unknown" for unknown in sorted(given - set(known))[:_MOST_PROBLEMS]),
    ]
    if wrong:
        raise MCPError(
            INVALID_PARAMS, plain(f"The prompt {name} was refused: {'; '.join(wrong)}. It takes {', '.join(known)}.")
        )


def spell_validation(error: ValidationError) -> str:
    """Say which arguments have a wrong type or value, in plain words."""
    return spell_problems(problems_in(error), head="The call was refused:")


def spell_problems(problems: Iterable[Problem], *, head: str, hint: str | None = None) -> str:
    """One line for each wrong field, with what would be right."""
    listed = list(problems)
    lines = [head, *(f"- {_spell_problem(problem)}" for problem in listed[:_MOST_PROBLEMS])]
    if len(listed) > _MOST_PROBLEMS:
        lines.append(f"- and {len(listed) - _MOST_PROBLEMS} more")
    if hint:
        lines.append(hint)
    return plain("\n".join(lines))


def spell(error: OrchestratorError, *, queued_nothing: bool = False) -> str:
    """What an error of ours says to a model, and what it can do about it.

    Args:
        error: what went wrong.
        queued_nothing: whether the call was to queue something.
    """
    match error:
        case ManifestError():
            head = "Nothing was queued; mend this and submit again:" if queued_nothing else "Mend this and call again:"
            hint = (error.hint or "").removeprefix("Nothing was queued. ") if queued_nothing else error.hint
            return spell_problems(error.problems, head=head, hint=hint)
        case NotFoundError():
            return plain(f"{error} {_LOOK_IN.get(error.kind, '')}")
        case UnavailableError():
            again = f"Try again in {error.retry_after:.0f} s; with an idempotency_key nothing is queued twice."
            return plain(f"{error} {again}")
        case _:
            return plain(str(error))


def _spell_problem(problem: Problem) -> str:
    where = ".".join(map(str, problem.path))
    allowed = ", ".join(map(str, problem.allowed[:30]))
    words = f"{where}: {problem.message}" if where else problem.message
    return plain(f"{words} (allowed: {allowed})" if allowed else words, limit=600)
