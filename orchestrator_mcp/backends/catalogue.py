"""What one backend can run: its node classes and the model files each of them offers (`GET /object_info`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final
from weakref import WeakValueDictionary

import anyio

from orchestrator_mcp.backends import shapes

_OPEN_LISTS: Final = frozenset({"remote", "multiselect", "upload"})


class NodeCatalogue:
    """The node classes of one backend; never changes once it is read.

    Args:
        raw: class -> definition, as the backend sent it.
    """

    def __init__(self, raw: Mapping[str, Mapping[str, Any]]) -> None:
        self._raw = MappingProxyType(dict(raw))

    @property
    def raw(self) -> Mapping[str, Mapping[str, Any]]:
        """class -> definition, as the backend sent it; read only."""
        return self._raw

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of its text, in hex: equal catalogues are equal, whoever has them. Ask in a thread."""
        return hashlib.sha256(json.dumps(dict(self._raw), sort_keys=True).encode()).hexdigest()

    def as_json(self) -> bytes:
        """It as `GET /object_info` gives it, some megabytes: ask in a thread. What is no JSON number becomes null."""
        try:
            return _encoded(self._raw)
        except ValueError:
            return _encoded(shapes.finite(dict(self._raw)))

    def __len__(self) -> int:
        return len(self._raw)

    def has_class(self, name: str) -> bool:
        """Whether the backend has a node class.

        Args:
            name: a `class_type`.
        """
        return name in self._raw

    def options(self, class_type: str, input: str) -> tuple[str, ...] | None:
        """The names that an input can take, such as the model files of a loader.

        Args:
            class_type: a node class.
            input: one of its inputs.

        Returns:
            The names, possibly none at all; None where the list is no list of names or where more is allowed than
            it shows (uploads, lists that are fetched later, several choices at once), and for what does not exist.
        """
        kind, config = self._signature(class_type, input)
        if any(config.get(key) for key in config if key in _OPEN_LISTS or key.endswith("_upload")):
            return None
        listed = config.get("options") if kind == "COMBO" else kind
        if not isinstance(listed, list) or not all(isinstance(option, str) for option in listed):
            return None
        return tuple(listed)

    def spelling(self, class_type: str, input: str, value: str) -> str | None:
        """How the backend itself writes one of its names: Windows lists `sub\\\\model`, Linux `sub/model`.

        Args:
            class_type: a node class.
            input: one of its inputs.
            value: the name with either slash.

        Returns:
            The backend's spelling; None if it does not offer the name or has no closed list.
        """
        options = self.options(class_type, input) or ()
        if value in options:
            return value
        wanted = value.replace("\\", "/")
        return next((option for option in options if option.replace("\\", "/") == wanted), None)

    def python_module(self, class_type: str) -> str | None:
        """Where a class comes from (`nodes`, `custom_nodes.some_pack`), which names the pack that has it.

        Args:
            class_type: a node class.
        """
        return shapes.words(self._raw.get(class_type, {}).get("python_module"), 200) or None

    def is_output(self, class_type: str) -> bool:
        """Whether the class makes something to keep; a graph without such a node is refused.

        Args:
            class_type: a node class.
        """
        return self._raw.get(class_type, {}).get("output_node") is True

    def _signature(self, class_type: str, input: str) -> tuple[object, Mapping[str, Any]]:
        """The type of an input and its settings; (None, {}) if there is no such input."""
        sections = shapes.record(self._raw.get(class_type, {}).get("input"))
        for section in ("required", "optional"):
            spec = shapes.items(shapes.record(sections.get(section)).get(input))
            if spec:
                return spec[0], shapes.record(spec[1]) if len(spec) > 1 else {}
        return None, {}


class Catalogues:
    """Catalogues by the bytes they came as: the equal machines of a farm share one, which is read once.

    Attributes:
        turn: for whoever reads in threads: one at a time, so that nobody reads what another is reading.
    """

    def __init__(self) -> None:
        self.turn = anyio.CapacityLimiter(1)
        self._known: WeakValueDictionary[bytes, NodeCatalogue] = WeakValueDictionary()

    def read(self, content: bytes) -> NodeCatalogue:
        """Read an answer to `GET /object_info`.

        Args:
            content: its bytes.

        Raises:
            ValueError: it is no JSON, not an object, or names no class at all.
        """
        digest = hashlib.sha256(content).digest()
        found = self._known.get(digest)
        if found is None:
            found = self._known[digest] = parse_catalogue(shapes.parse_json(content))
        return found


def _encoded(raw: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(raw), ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


def parse_class(document: object, class_type: str) -> Mapping[str, Any] | None:
    """Read the answer to `GET /object_info/{class}`: the class's definition, or None if there is none.

    Args:
        document: the parsed JSON.
        class_type: the class.
    """
    said = shapes.record(document).get(class_type)
    return said if isinstance(said, dict) else None


def parse_catalogue(document: object) -> NodeCatalogue:
    """Read the answer to `GET /object_info`.

    Args:
        document: the parsed JSON.

    Raises:
        ValueError: it is not an object, or names no class at all.
    """
    classes = {name: said for name, said in shapes.record(document).items() if isinstance(said, dict)}
    if not classes:
        raise ValueError("it lists no node classes")
    return NodeCatalogue(classes)
