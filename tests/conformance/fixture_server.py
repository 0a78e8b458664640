"""What the official conformance suite calls by name, added to the agents' door as the app builds it.

The suite's scenarios name their tools, resources and prompts. Everything around these, from the port to the sessions,
is what the program itself serves.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from typing import Annotated, Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import Message, Prompt, UserMessage
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    Resource,
    ResourceTemplate,
    SamplingMessage,
    SetLevelRequestParams,
    TextContent,
    TextResourceContents,
)
from pydantic import AnyUrl, BaseModel, Field

from orchestrator_mcp.app import SANDBOX_STEP_MS
from orchestrator_mcp.doors.mcp.inside import lowlevel
from orchestrator_mcp.doors.mcp.tasks import JobTasks
from orchestrator_mcp.doors.mcp.tools import AgentServer
from tests.conformance.samples import PIXEL, SILENCE

Told = list[ContentBlock]
Asked = str | InputRequiredResult
Ctx = Context[Any, Any]

SCHEME = "test://"


class FixtureServer(AgentServer):
    """The agents' door, and the suite's own tools, resources and prompts."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        for tool in (
            *(test_simple_text, test_image_content, test_audio_content, test_embedded_resource),
            *(test_multiple_content_types, test_error_handling, test_tool_with_logging, test_tool_with_progress),
            *(test_sampling, test_elicitation, test_elicitation_sep1034_defaults, test_elicitation_sep1330_enums),
            *(test_x_mcp_header, test_missing_capability, json_schema_2020_12_tool),
            *(test_input_required_result_elicitation, test_input_required_result_sampling),
            *(test_input_required_result_list_roots, test_input_required_result_request_state),
            *(test_input_required_result_multiple_inputs, test_input_required_result_multi_round),
            *(test_input_required_result_tampered_state, test_input_required_result_capabilities),
            *(self.test_trigger_tool_change, self.test_trigger_prompt_change),
            *(greet, self.slow_compute, self.failing_job),
        ):
            self.add_tool(tool, structured_output=False)
        known = self._tool_manager.get_tool("json_schema_2020_12_tool")
        assert known is not None
        known.parameters = JSON_SCHEMA_2020_12
        self.resource(f"{SCHEME}static-text", mime_type="text/plain")(_static_text)
        self.resource(f"{SCHEME}static-binary", mime_type="image/png")(_static_binary)
        self.resource(f"{SCHEME}watched-resource", mime_type="text/plain")(_static_text)
        self.resource(f"{SCHEME}template/{{id}}/data", mime_type="application/json")(_template)
        for prompt in (
            *(test_simple_prompt, test_prompt_with_arguments, test_prompt_with_embedded_resource),
            *(test_prompt_with_image, test_input_required_result_prompt),
        ):
            self.add_prompt(Prompt.from_function(prompt))
        lowlevel(self).add_request_handler("logging/setLevel", SetLevelRequestParams, _set_level)

    async def list_resources(self) -> list[Resource]:
        return [*await super().list_resources(), *await MCPServer.list_resources(self)]

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        return [*await super().list_resource_templates(), *await MCPServer.list_resource_templates(self)]

    async def read_resource(
        self, uri: AnyUrl | str, context: Ctx | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        if str(uri).startswith(SCHEME) and "nonexistent" not in str(uri):
            return await MCPServer.read_resource(self, uri, context)
        return await super().read_resource(uri, context)

    async def slow_compute(self, ctx: Ctx, seconds: float = 0, label: str = "") -> CallToolResult:
        """A job that takes some seconds; a task for those who know tasks."""
        steps = max(1, round(seconds * 1000 / SANDBOX_STEP_MS))
        wish = {"workflow_id": "my_workflow_001", "parameters": {"steps": steps}, "metadata": {"label": label}}
        return await self._submitted(wish, ctx)

    async def failing_job(self, ctx: Ctx) -> CallToolResult:
        """A job whose last node raises."""
        return await self._submitted({"workflow": FAILING}, ctx)

    async def _submitted(self, wish: dict[str, Any], ctx: Ctx) -> CallToolResult:
        accepted = await self.call_tool("submit_job", wish, ctx)
        assert isinstance(accepted, CallToolResult)
        return accepted

    async def test_trigger_tool_change(self, ctx: Ctx) -> str:
        """Change the list of tools, and tell it."""
        self.add_tool(_passing, name="test_dynamic_tool")
        self.remove_tool("test_dynamic_tool")
        await ctx.notify_tools_changed()
        return "changed"

    async def test_trigger_prompt_change(self, ctx: Ctx) -> str:
        """Change the list of prompts, and tell it."""
        self.add_prompt(Prompt.from_function(_passing, name="test_dynamic_prompt"))
        self.remove_prompt("test_dynamic_prompt")
        await ctx.notify_prompts_changed()
        return "changed"


class FixtureTasks(JobTasks):
    """Jobs as tasks, also those that the suite's own tools submit."""

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        submits = params.name in ("slow_compute", "failing_job")
        named = params.model_copy(update={"name": "submit_job"}) if submits else params
        return await super().intercept_tool_call(named, ctx, call_next)


FAILING = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "2": {"class_type": "ImageToMask", "inputs": {"image": ["1", 0], "channel": "alpha"}},
    "3": {"class_type": "MaskToImage", "inputs": {"mask": ["2", 0]}},
    "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "never"}},
}


def greet(name: str) -> str:
    """Says hello."""
    return f"Hello, {name}!"


def _passing() -> str:
    """Here and gone."""
    return "gone"


def _static_text() -> str:
    return "A text that stays as it is."


def _static_binary() -> bytes:
    return PIXEL


def _template(id: str) -> str:
    return json.dumps({"id": id, "templateTest": True, "data": f"of {id}"})


async def _set_level(_ctx: ServerRequestContext[Any, Any], _params: SetLevelRequestParams) -> EmptyResult:
    return EmptyResult()


def _image() -> ImageContent:
    return ImageContent(type="image", data=b64encode(PIXEL).decode(), mime_type="image/png")


def _embedded(uri: str, media_type: str, text: str) -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, mime_type=media_type, text=text)
    return EmbeddedResource(type="resource", resource=contents)


def test_simple_text() -> str:
    """A text."""
    return "This is a simple text response for testing."


def test_image_content() -> Told:
    """An image."""
    return [_image()]


def test_audio_content() -> Told:
    """A sound."""
    return [AudioContent(type="audio", data=b64encode(SILENCE).decode(), mime_type="audio/wav")]


def test_embedded_resource() -> Told:
    """A resource."""
    return [_embedded(f"{SCHEME}embedded-resource", "text/plain", "This is an embedded resource content.")]


def test_multiple_content_types() -> Told:
    """A text, an image and a resource."""
    document = _embedded(f"{SCHEME}mixed-content-resource", "application/json", '{"test":"data","value":123}')
    return [TextContent(type="text", text="Multiple content types test:"), _image(), document]


def test_error_handling() -> str:
    """Fails."""
    raise RuntimeError("This tool intentionally returns an error for testing")


async def test_tool_with_logging(ctx: Ctx) -> str:
    """Logs three lines."""
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(line)
    return "logged"


async def test_tool_with_progress(ctx: Ctx) -> str:
    """Tells of its progress."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100, f"{done} of 100")
    return "done"


async def test_sampling(prompt: str, ctx: Ctx) -> str:
    """Asks the client's model."""
    answer = await ctx.session.create_message(
        messages=[SamplingMessage(role="user", content=TextContent(type="text", text=prompt))],
        max_tokens=100,
        related_request_id=ctx.request_id,
    )
    return f"LLM response: {answer.content.text if isinstance(answer.content, TextContent) else '?'}"


class Reply(BaseModel):
    username: str
    email: str


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field("active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = True


def _titled(*pairs: tuple[str, str]) -> list[Any]:
    return [{"const": value, "title": title} for value, title in pairs]


class Choices(BaseModel):
    untitledSingle: str = Field(json_schema_extra={"enum": ["option1", "option2"]})
    titledSingle: str = Field(json_schema_extra={"oneOf": [*_titled(("value1", "One"), ("value2", "Two"))]})
    untitledMulti: list[str] = Field(json_schema_extra={"items": {"type": "string", "enum": ["option1", "option2"]}})
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": [*_titled(("a", "A"), ("b", "B"))]}})
    legacyEnum: str = Field(json_schema_extra={"enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]})


async def _elicited(message: str, form: type[BaseModel], ctx: Ctx) -> str:
    answer = await ctx.elicit(message=message, schema=form)
    content = answer.data.model_dump_json() if answer.action == "accept" else "{}"
    return f"User response: action={answer.action}, content={content}"


async def test_elicitation(message: str, ctx: Ctx) -> str:
    """Asks the user."""
    return await _elicited(message, Reply, ctx)


async def test_elicitation_sep1034_defaults(ctx: Ctx) -> str:
    """Asks the user, with default answers."""
    return await _elicited("Who is it?", Defaults, ctx)


async def test_elicitation_sep1330_enums(ctx: Ctx) -> str:
    """Asks the user to choose."""
    return await _elicited("Which of these?", Choices, ctx)


def test_x_mcp_header(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "none") -> str:
    """Has an argument that is told in a header, too."""
    return region


async def test_missing_capability(ctx: Ctx) -> str:
    """Needs a client that samples."""
    declared = ctx.session.client_capabilities
    if declared is None or declared.sampling is None:
        raise MCPError(
            MISSING_REQUIRED_CLIENT_CAPABILITY,
            "This tool needs sampling.",
            data={"requiredCapabilities": {"sampling": {}}},
        )
    return "sampling is there"


JSON_SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def json_schema_2020_12_tool() -> str:
    """Has a schema with every keyword that must come through."""
    return "kept"


def _ask(message: str, key: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {key: {"type": kind}}, "required": [key]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(text: str) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=50))


def _answered(ctx: Ctx, key: str, field: str) -> str | None:
    """What the user filled in; None when nothing came."""
    answer = (ctx.input_responses or {}).get(key)
    return str((answer.content or {}).get(field)) if isinstance(answer, ElicitResult) else None


async def test_input_required_result_elicitation(ctx: Ctx) -> Asked:
    """Needs a name first."""
    name = _answered(ctx, "user_name", "name")
    return f"Hello, {name}!" if name else InputRequiredResult(input_requests={"user_name": _ask("Name?", "name")})


async def test_input_required_result_sampling(ctx: Ctx) -> Asked:
    """Needs a word of the client's model first."""
    if "capital_question" in (ctx.input_responses or {}):
        return "The model has answered."
    return InputRequiredResult(input_requests={"capital_question": _sample("What is the capital of France?")})


async def test_input_required_result_list_roots(ctx: Ctx) -> Asked:
    """Needs the client's roots first."""
    if "client_roots" in (ctx.input_responses or {}):
        return "The roots are known."
    return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})


async def test_input_required_result_request_state(ctx: Ctx) -> Asked:
    """Gets its own state back with the answer."""
    if "confirm" in (ctx.input_responses or {}) and ctx.request_state == "asked":
        return "state-ok"
    return InputRequiredResult(input_requests={"confirm": _ask("Sure?", "ok", "boolean")}, request_state="asked")


async def test_input_required_result_multiple_inputs(ctx: Ctx) -> Asked:
    """Needs three things at once."""
    wanted: dict[str, InputRequest] = {
        "user_name": _ask("Name?", "name"),
        "greeting": _sample("Generate a greeting"),
        "client_roots": ListRootsRequest(),
    }
    if wanted.keys() <= (ctx.input_responses or {}).keys():
        return "All is there."
    return InputRequiredResult(input_requests=wanted, request_state="three")


async def test_input_required_result_multi_round(ctx: Ctx) -> Asked:
    """Needs one thing after the other."""
    known = json.loads(ctx.request_state or "{}")
    name, color = known.get("name") or _answered(ctx, "step1", "name"), _answered(ctx, "step2", "color")
    if name and color:
        return f"{name} likes {color}."
    step: dict[str, InputRequest] = {"step2": _ask("Colour?", "color")} if name else {"step1": _ask("Name?", "name")}
    return InputRequiredResult(input_requests=step, request_state=json.dumps({"name": name}))


async def test_input_required_result_tampered_state(ctx: Ctx) -> Asked:
    """Takes back only what it gave."""
    if ctx.request_state is not None:
        return "state-ok"
    return InputRequiredResult(input_requests={"confirm": _ask("Sure?", "ok", "boolean")}, request_state="given")


async def test_input_required_result_capabilities(ctx: Ctx) -> InputRequiredResult:
    """Asks for what the client can do."""
    declared = ctx.client_capabilities
    wanted: dict[str, InputRequest] = {}
    if declared is None or declared.sampling is not None:
        wanted["sample"] = _sample("Say hello")
    if declared is None or declared.elicitation is not None:
        wanted["ask"] = _ask("Name?", "name")
    return InputRequiredResult(input_requests=wanted, request_state="asked")


def test_simple_prompt() -> str:
    """A prompt."""
    return "This is a simple prompt for testing."


def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """A prompt with arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


def test_prompt_with_embedded_resource(resourceUri: str) -> list[Message]:
    """A prompt with a resource."""
    resource = _embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
    return [UserMessage(content=resource), UserMessage("Please process the embedded resource above.")]


def test_prompt_with_image() -> list[Message]:
    """A prompt with an image."""
    return [UserMessage(content=_image()), UserMessage("Please analyze the image above.")]


async def test_input_required_result_prompt(ctx: Ctx) -> list[Message] | InputRequiredResult:
    """A prompt that needs something first."""
    told = _answered(ctx, "user_context", "context")
    if told:
        return [UserMessage(f"Use this: {told}")]
    return InputRequiredResult(input_requests={"user_context": _ask("What is it about?", "context")})
