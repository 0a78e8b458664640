"""Whether a graph may run: the checks of ComfyUI 0.3.64, in its order and with its words.

The words and the shapes of the refusals are protocol: clients take them apart.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator_mcp.sandbox.catalogue import NODE_CLASSES
from orchestrator_mcp.sandbox.definitions import Choices, Slot

Graph = dict[str, Any]
Refusal = dict[str, Any]

_LONG_LIST = 20

_CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}

PictureCheck = Callable[[str], str | None]
"""Says what is wrong with the picture that LoadImage names, or None."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What validation found.

    Attributes:
        error: The refusal of the whole prompt, or None if something may run.
        outputs: The output nodes that may run, in graph order.
        node_errors: What is wrong, by node.
    """

    error: Refusal | None
    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, Any] = field(default_factory=dict)


def refusal(kind: str, message: str, details: str = "", **extra: Any) -> Refusal:
    """Make one error as ComfyUI words it.

    Args:
        kind: The ``type``.
        message: The sentence.
        details: What it is about.
        extra: The ``extra_info``.
    """
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def full_type_name(error: BaseException) -> str:
    """Name an exception as ComfyUI does: builtins bare, others with their module.

    Args:
        error: The exception.
    """
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class GraphCheck:
    """One look at one graph. Literal inputs are converted in place, as ComfyUI does."""

    def __init__(
        self, graph: Graph, *, choices: Choices, picture_check: PictureCheck, without: Collection[str] = ()
    ) -> None:
        """Prepare a check.

        Args:
            graph: The graph in API format, unchecked.
            choices: Looks live combo options up.
            picture_check: Looks pictures of loaders up.
            without: Node classes that this server does not have.
        """
        self._graph = graph
        self._choices = choices
        self._picture_check = picture_check
        self._without = without
        self._known: dict[str, tuple[bool, list[Refusal]]] = {}
        self._open: set[str] = set()

    def verdict(self, targets: Collection[str] | None) -> Verdict:
        """Check the graph.

        Args:
            targets: The only output nodes that are wanted, or None for all.

        Returns:
            What may run and what is wrong.

        Raises:
            TypeError: If the graph is no graph at all; ComfyUI fails with a 500 there.
        """
        outputs: list[str] = []
        for node_id, node in self._graph.items():
            wrong = self._class_refusal(node_id, node)
            if wrong is not None:
                return Verdict(error=wrong)
            wanted = targets is None or node_id in targets
            if wanted and NODE_CLASSES[node["class_type"]].output_node:
                outputs.append(node_id)
        if not outputs:
            return Verdict(error=refusal("prompt_no_outputs", "Prompt has no outputs"))
        return self._output_verdict(outputs)

    def _class_refusal(self, node_id: str, node: Any) -> Refusal | None:
        if "class_type" not in node:
            message = "Cannot execute because a node is missing the class_type property."
            return refusal("invalid_prompt", message, f"Node ID '#{node_id}'")
        if node["class_type"] not in NODE_CLASSES or node["class_type"] in self._without:
            message = f"Cannot execute because node {node['class_type']} does not exist."
            return refusal("invalid_prompt", message, f"Node ID '#{node_id}'")
        return None

    def _output_verdict(self, outputs: list[str]) -> Verdict:
        good: list[str] = []
        sentences: list[str] = []
        node_errors: dict[str, Any] = {}
        for output in outputs:
            valid, reasons = self._checked_output(output)
            if valid:
                good.append(output)
                continue
            sentences += [f"{reason['message']}: {reason['details']}" for reason in reasons]
            self._blame(output, node_errors)
        if good:
            return Verdict(error=None, outputs=good, node_errors=node_errors)
        error = refusal("prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(sentences))
        return Verdict(error=error, node_errors=node_errors)

    def _checked_output(self, output: str) -> tuple[bool, list[Refusal]]:
        try:
            return self._checked(output)
        except Exception as error:  # noqa: BLE001 - supervision boundary: ComfyUI reports whatever a check raises
            reason = refusal(
                "exception_during_validation",
                "Exception when validating node",
                str(error),
                exception_type=full_type_name(error),
                traceback=traceback.format_tb(error.__traceback__),
            )
            self._known[output] = (False, [reason])
            return self._known[output]

    def _blame(self, output: str, node_errors: dict[str, Any]) -> None:
        for node_id, (valid, reasons) in self._known.items():
            if valid or not reasons:
                continue
            class_type = self._graph[node_id]["class_type"] if node_id in self._graph else None
            entry = node_errors.setdefault(
                node_id, {"errors": reasons, "dependent_outputs": [], "class_type": class_type}
            )
            entry["dependent_outputs"].append(output)

    def _checked(self, node_id: str) -> tuple[bool, list[Refusal]]:
        if node_id in self._known:
            return self._known[node_id]
        if node_id in self._open:
            return False, []  # a cycle: 0.3.64 refuses it without a reason
        self._open.add(node_id)
        node = self._graph[node_id]
        inputs = node["inputs"]
        node_class = NODE_CLASSES[node["class_type"]]
        found: list[Refusal] = []
        fed = True
        for name, slot in {**node_class.required, **node_class.optional}.items():
            if name not in inputs:
                if name in node_class.required:
                    found.append(refusal("required_input_missing", "Required input is missing", name, input_name=name))
                continue
            if isinstance(inputs[name], list):
                wrong, ok = self._link_refusal(name, slot, inputs[name])
                fed = fed and ok
            else:
                wrong = self._value_refusal(name, slot, inputs)
            if wrong is not None:
                found.append(wrong)
        if not found:
            found += self._custom_refusals(node_class.name, inputs)
        self._open.discard(node_id)
        self._known[node_id] = (fed and not found, found)
        return self._known[node_id]

    def _link_refusal(self, name: str, slot: Slot, value: list[Any]) -> tuple[Refusal | None, bool]:
        """Check a link and what it comes from; the flag says whether the source may run."""
        config = self._input_config(slot)
        if len(value) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            wrong = refusal(
                "bad_linked_input", message, name, input_name=name, input_config=config, received_value=value
            )
            return wrong, True
        source = value[0]
        outputs = NODE_CLASSES[self._graph[source]["class_type"]].outputs
        received = outputs[value[1]][0]
        wanted = config[0]
        if not _fits(received, wanted):
            wrong = refusal(
                "return_type_mismatch",
                "Return type mismatch between linked nodes",
                f"{name}, received_type({received}) mismatch input_type({wanted})",
                input_name=name,
                input_config=config,
                received_type=received,
                linked_node=value,
            )
            return wrong, True
        try:
            return None, self._checked(source)[0]
        except Exception as error:  # noqa: BLE001 - supervision boundary: ComfyUI reports whatever a check raises
            reason = refusal(
                "exception_during_inner_validation",
                "Exception when validating inner node",
                str(error),
                input_name=name,
                input_config=config,
                exception_message=str(error),
                exception_type=full_type_name(error),
                traceback=traceback.format_tb(error.__traceback__),
                linked_node=value,
            )
            self._known[source] = (False, [reason])
            return None, False

    def _value_refusal(self, name: str, slot: Slot, inputs: dict[str, Any]) -> Refusal | None:
        config = self._input_config(slot)
        wanted = config[0]
        value = inputs[name]
        if isinstance(value, dict) and "__value__" in value:
            value = inputs[name] = value["__value__"]
        if isinstance(wanted, str) and wanted in _CONVERSIONS:
            try:
                value = inputs[name] = _CONVERSIONS[wanted](value)
            except (TypeError, ValueError, OverflowError) as error:
                return refusal(
                    "invalid_input_type",
                    f"Failed to convert an input value to a {wanted} value",
                    f"{name}, {value}, {error}",
                    input_name=name,
                    input_config=config,
                    received_value=value,
                    exception_message=str(error),
                )
        if slot.source == "pictures":
            return None
        return _limit_refusal(name, config, value) or _combo_refusal(name, config, value)

    def _custom_refusals(self, class_type: str, inputs: Mapping[str, Any]) -> list[Refusal]:
        if class_type not in ("LoadImage", "LoadImageMask") or isinstance(inputs["image"], list):
            return []
        if not isinstance(inputs["image"], str):  # a combo's value is not converted, and the loader's check breaks
            raise AttributeError(f"'{type(inputs['image']).__name__}' object has no attribute 'endswith'")
        wrong = self._picture_check(inputs["image"])
        if wrong is None:
            return []
        return [
            refusal(
                "custom_validation_failed",
                "Custom validation failed for node",
                f"image - {wrong}",
                input_name="image",
            )
        ]

    def _input_config(self, slot: Slot) -> list[Any]:
        return [slot.input_type(self._choices), dict(slot.config or {})]


def _fits(received: str, wanted: str | list[str]) -> bool:
    """Whether an output of one type may feed an input of another; ``*`` fits all."""
    if isinstance(wanted, list):
        return False
    if "*" in (received, wanted):
        return True
    return bool(set(received.split(",")) & set(wanted.split(",")))


def _limit_refusal(name: str, config: list[Any], value: Any) -> Refusal | None:
    limits = config[1]
    extra = {"input_name": name, "input_config": config, "received_value": value}
    if "min" in limits and value < limits["min"]:
        message = f"Value {value} smaller than min of {limits['min']}"
        return refusal("value_smaller_than_min", message, name, **extra)
    if "max" in limits and value > limits["max"]:
        message = f"Value {value} bigger than max of {limits['max']}"
        return refusal("value_bigger_than_max", message, name, **extra)
    return None


def _combo_refusal(name: str, config: list[Any], value: Any) -> Refusal | None:
    options = config[0]
    if not isinstance(options, list) or value in options:
        return None
    long = len(options) > _LONG_LIST
    listed = f"(list of length {len(options)})" if long else str(options)
    return refusal(
        "value_not_in_list",
        "Value not in list",
        f"{name}: '{value}' not in {listed}",
        input_name=name,
        input_config=None if long else config,
        received_value=value,
    )
