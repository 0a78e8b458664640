"""docs/configuration.md and config.yaml say what the models say, no more and no less."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from orchestrator_mcp.errors import SettingsError
from orchestrator_mcp.settings import (
    AssetSettings,
    BackendSettings,
    LimitSettings,
    PolicySettings,
    RetentionSettings,
    SchedulingSettings,
    ServerSettings,
    Settings,
    load_settings,
)
from orchestrator_mcp.settings.checking import Needs, explain_needs, known_keys

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "configuration.md"
SHIPPED = ROOT / "config.yaml"
SECTIONS: dict[str, type[BaseModel]] = {
    "backends[]": BackendSettings,
    "server": ServerSettings,
    "scheduling": SchedulingSettings,
    "limits": LimitSettings,
    "policy": PolicySettings,
    "assets": AssetSettings,
    "retention": RetentionSettings,
}
NOT_IN_A_FILE = {"config_file", "warnings"}


def all_keys() -> Iterator[tuple[str, FieldInfo]]:
    """Every key of the configuration as the documentation spells it, sections left out."""
    for key, info in known_keys(Settings).items():
        if key not in NOT_IN_A_FILE | set(SECTIONS) | {"backends"}:
            yield key, info
    for section, model in SECTIONS.items():
        for key, info in known_keys(model).items():
            yield f"{section}.{key}", info


def row(key: str, info: FieldInfo) -> str:
    """The line of the table for one key."""
    # the ways to write a duration or size are explained once, above the tables
    takes = re.sub(r" \((?:seconds|bytes)[^)]*\)", "", explain_needs(info))
    return f"| `{key}` | {takes} | {show_default(info)} | {info.description} |"


def show_default(info: FieldInfo) -> str:
    """A default as people write it in the file."""
    if info.is_required():
        return "needed"
    value: Any = info.default
    if isinstance(value, tuple) and value and isinstance(value[0], Path):
        value = value[0]
    if isinstance(value, Path):
        return f"`./{value}`"
    if value in (None, "", (), {}):
        return "none"
    show = next((mark.show for mark in info.metadata if isinstance(mark, Needs)), str)
    return f"`{show(value)}`"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def uncommented() -> str:
    # prose has one space behind its #; settings have none, or their indentation
    return re.sub(r"^#(?! \S)(?=.)", "", SHIPPED.read_text(encoding="utf-8"), flags=re.MULTILINE)


def load_text(folder: Path, text: str) -> Settings:
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file, environ={})


def test_the_tables_of_the_documentation_are_the_keys_and_defaults_of_the_models() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    written = [line for line in lines if line.startswith("| `") and line.count(" | ") == 3]
    expected = [row(key, info) for key, info in all_keys()]
    assert written == expected


def test_every_yaml_block_of_the_documentation_loads_without_a_warning(tmp_path: Path) -> None:
    examples = blocks("yaml")
    assert len(examples) >= 2
    for example in examples:
        assert load_text(tmp_path, example).warnings == ()


def test_the_message_in_the_documentation_is_the_message_of_the_program(tmp_path: Path) -> None:
    wrong, message = blocks("text")[:2]
    with pytest.raises(SettingsError) as caught:
        load_text(tmp_path, wrong)
    assert str(caught.value).replace(str(tmp_path), "/studio") == message.rstrip("\n")


def test_the_shipped_file_says_nothing_but_the_defaults(tmp_path: Path) -> None:
    shipped = load_text(tmp_path, SHIPPED.read_text(encoding="utf-8"))
    assert shipped == load_text(tmp_path, "")
    assert shipped.backends == ()
    assert shipped.warnings == ()


def test_the_shipped_file_loads_when_everything_in_it_is_uncommented(tmp_path: Path) -> None:
    opened = load_text(tmp_path, uncommented())
    assert opened.warnings == ()
    assert [(backend.id, backend.url, backend.slots) for backend in opened.backends] == [
        ("node1", "http://192.168.1.100:8188", 2)
    ]
    assert opened.model_copy(update={"backends": ()}) == load_text(tmp_path, "")


def test_the_shipped_file_shows_every_key_there_is() -> None:
    shown = set(re.findall(r"^#[ -]*([a-z_]+):", SHIPPED.read_text(encoding="utf-8"), re.MULTILINE))
    assert shown == {key.rpartition(".")[2] for key, _ in all_keys()} | {section.strip("[]") for section in SECTIONS}
