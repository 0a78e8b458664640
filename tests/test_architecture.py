"""Rules of the house that the import contracts cannot tell: read from the source itself."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted(path for package in ("orchestrator_mcp", "watcher") for path in (ROOT / package).rglob("*.py"))
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}

VAGUE = {"manager", "handler", "helper", "helpers", "util", "utils", "common", "data", "info", "process", "base"}

LOOP_BOUND = {
    "orchestrator_mcp/sandbox/command.py",  # asyncio.Runner chooses uvloop for a thousand servers
    "orchestrator_mcp/sandbox/listening.py",  # sockets without a task for each of a thousand ports
    "orchestrator_mcp/store/writer.py",  # a word from its thread to the loop that does not wait to be heard
}
WITH_THREADS = {
    "orchestrator_mcp/command/serving.py",  # the child of --reload waits for its parent's end, beside any loop
    "orchestrator_mcp/doors/mcp/lines.py",  # a read of stdin that no cancellation can end
    "orchestrator_mcp/logs.py",  # the lock that every logging handler has
}
WITH_PROCESSES = {
    "orchestrator_mcp/command/serving.py",  # the child of --reload, which watchfiles starts
}
LATE_IMPORTS = {
    "orchestrator_mcp/app.py",  # the doors when recovery is done, stdio and the sandbox when they are wanted
    "orchestrator_mcp/previews/frames.py",  # an extra, of forty megabytes, for those who have videos
    "orchestrator_mcp/store/sqlite.py",  # Alembic takes 0.7 s, and is needed once in a long time
}
CATCH_ALL = {
    "orchestrator_mcp/doors/mcp/resources.py": "a read",
    "orchestrator_mcp/logs.py": "a log call",
    "orchestrator_mcp/sandbox/execution.py": "a node",
    "orchestrator_mcp/sandbox/server.py": "the worker",
    "orchestrator_mcp/sandbox/validation.py": "a check of a node",
    "orchestrator_mcp/scheduler/dispatcher.py": "an attempt",
    "orchestrator_mcp/store/writer.py": "an operation",
    "watcher/inbox.py": "the door",
    "watcher/delivering.py": "a delivery, and a turn",
    "watcher/outbox.py": "the door",
    "watcher/scanner.py": "a look",
    "watcher/submitting.py": "a submission",
    "watcher/wakes.py": "file events",
}


def within(tree: ast.Module, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
    return (node for node in ast.walk(tree) if isinstance(node, kinds))


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def called(tree: ast.Module) -> set[str]:
    return {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def files_where(holds: object) -> set[str]:
    assert callable(holds)
    return {name for name, tree in TREES.items() if holds(tree)}


def test_there_is_a_house_to_look_at() -> None:
    assert len(TREES) > 100


def test_the_page_draws_the_order_of_imports_that_is_checked() -> None:
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = [layer.replace("orchestrator_mcp.", "") for layer in checked[0]["layers"]]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = page.partition("```text\nserver →")[2].partition("```")[0]
    assert [" ".join(layer.split()) for layer in f"server → {drawn}".split("→")] == layers


def test_only_the_settings_read_the_environment() -> None:
    def reads(tree: ast.Module) -> bool:
        attributes = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        return bool({"os.environ", "os.getenv"} & (attributes | called(tree) | imported(tree)))

    assert files_where(reads) == {"orchestrator_mcp/settings/settings.py"}


def test_only_the_clock_asks_the_machine_for_the_time() -> None:
    asked = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "anyio.current_time")

    def asks(tree: ast.Module) -> bool:
        return "time" in imported(tree) or any(name.endswith(asked) for name in called(tree))

    assert files_where(asks) == {"orchestrator_mcp/clock.py"}


def test_concurrency_is_anyios_but_where_a_reason_is_given() -> None:
    assert files_where(lambda tree: "asyncio" in imported(tree)) == LOOP_BOUND
    assert files_where(lambda tree: "threading" in imported(tree)) == WITH_THREADS
    assert files_where(lambda tree: "multiprocessing" in imported(tree)) == WITH_PROCESSES
    assert files_where(lambda tree: "trio" in imported(tree)) == set()


def test_every_task_has_a_parent() -> None:
    orphans = {"asyncio.create_task", "asyncio.ensure_future", "anyio.from_thread.start_blocking_portal"}
    assert files_where(lambda tree: orphans & called(tree)) == set()


def test_everything_is_caught_only_at_a_named_boundary() -> None:
    def swallows(handler: ast.AST) -> bool:
        assert isinstance(handler, ast.ExceptHandler)
        caught = "BaseException" if handler.type is None else dotted(handler.type)
        raised_again = any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler))
        return caught in ("Exception", "BaseException") and not raised_again

    found = files_where(lambda tree: any(map(swallows, within(tree, ast.ExceptHandler))))
    assert found == set(CATCH_ALL)


def words(name: str) -> list[str]:
    spaced = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return spaced.strip("_").split("_")


def test_names_say_what_a_thing_is() -> None:
    assert {name for name in TREES if VAGUE & set(words(Path(name).stem))} == set()
    vague = {
        f"{name}: {node.name}"
        for name, tree in TREES.items()
        for node in within(tree, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and words(node.name)[-1] in VAGUE
    }
    assert vague == {"orchestrator_mcp/backends/comfy.py: object_info"}, "ComfyUI's own word for what it has"


def test_imports_stand_at_the_top_but_for_the_heavy_ones() -> None:
    def imports_late(tree: ast.Module) -> bool:
        functions = within(tree, ast.FunctionDef, ast.AsyncFunctionDef)
        return any(isinstance(node, (ast.Import, ast.ImportFrom)) for one in functions for node in ast.walk(one))

    on_demand = ("orchestrator_mcp/cli/", "orchestrator_mcp/command/")  # a command imports what it needs
    late = {name for name in files_where(imports_late) if not name.startswith(on_demand)}
    assert late == LATE_IMPORTS


def test_every_room_and_module_says_what_it_is_for() -> None:
    assert files_where(lambda tree: ast.get_docstring(tree) is None) == set()


def test_the_page_has_a_word_for_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## The house")[2].partition("Imports go one way")[0]
    inside = [name.split("/") for name in TREES if name.startswith("orchestrator_mcp/")]
    rooms = {f"{path[1]}/" if len(path) > 2 else path[1] for path in inside} - {"__init__.py"}
    everywhere = {"clock.py", "errors.py", "files/", "logs.py", "redaction.py"}
    assert {room for room in rooms - everywhere if f"`{room}" not in table} == set()
