"""What config.yaml comes to: defaults, folders, old keys, and where it is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from orchestrator_mcp.backends.foresight import Foresight
from orchestrator_mcp.clock import SystemClock
from orchestrator_mcp.errors import SettingsError
from orchestrator_mcp.redaction import redact
from orchestrator_mcp.settings import BackendSettings, RetentionSettings, Settings, load_settings, locate_config

DOCUMENTED = """\
data_dir: "./data"
log_dir: "./logs"
backends:
  - id: node1
    name: "Beast (5090)"
    host: "192.168.1.100"
    port: 8188
    enabled: true
    capabilities: ["flux", "sdxl"]
    max_concurrent_jobs: 2
"""


def load_text(folder: Path, text: str) -> Settings:
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file, environ={})


def backend(folder: Path, lines: str) -> BackendSettings:
    return load_text(folder, f"backends:\n  - id: a\n    host: render1\n    {lines}\n").backends[0]


def test_the_documented_file_loads_as_it_stands(tmp_path: Path) -> None:
    settings = load_text(tmp_path, DOCUMENTED)
    node = settings.backends[0]
    assert (settings.data_dir, settings.log_dir) == (tmp_path / "data", tmp_path / "logs")
    assert (node.id, node.name, node.url, node.slots) == ("node1", "Beast (5090)", "http://192.168.1.100:8188", 2)
    assert node.capabilities == ("flux", "sdxl")
    assert settings.warnings == ()


def test_folders_are_beside_the_file_wherever_the_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = load_text(tmp_path, "outbox_dir: ../Out\nworkflows_dir: [./a, /srv/b]\n")
    assert settings.inbox_dir == tmp_path / "Inbox"
    assert settings.outbox_dir == tmp_path.parent / "Out"
    assert settings.workflows_dirs == (tmp_path / "a", Path("/srv/b").absolute())


def test_one_workflow_folder_needs_no_list(tmp_path: Path) -> None:
    assert load_text(tmp_path, "workflows_dir: graphs\n").workflows_dirs == (tmp_path / "graphs",)


def test_without_a_file_the_folders_are_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    assert settings.config_file is None
    assert settings.data_dir == tmp_path / "data"
    assert settings.workflows_dirs == (tmp_path / "workflows",)


def test_settings_can_be_built_in_code_and_not_changed_afterwards(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, workflows_dirs=(tmp_path / "w",), retention=RetentionSettings(bytes=5))
    assert settings.retention.bytes == 5
    with pytest.raises(ValidationError):
        settings.outbox = "inbox"


@pytest.mark.parametrize(
    ("written", "seconds"), [("90", 90), ("0.25", 0.25), ("500ms", 0.5), ("30s", 30), ("10 min", 600), ("1H", 3600)]
)
def test_durations_are_read_with_and_without_a_unit(tmp_path: Path, written: str, seconds: float) -> None:
    assert load_text(tmp_path, f"scheduling: {{stall_timeout: {written}}}\n").scheduling.stall_timeout == seconds


@pytest.mark.parametrize(
    ("written", "size"), [("1234", 1234), ("16MiB", 2**24), ("20GB", 20 * 10**9), ("1.5 kb", 1500), ("2TiB", 2**41)]
)
def test_sizes_are_read_with_and_without_a_unit(tmp_path: Path, written: str, size: int) -> None:
    assert load_text(tmp_path, f"limits: {{output_bytes: {written}}}\n").limits.output_bytes == size


def test_capabilities_are_compared_without_case_and_once(tmp_path: Path) -> None:
    assert backend(tmp_path, 'capabilities: [Flux, " flux ", SDXL]').capabilities == ("flux", "sdxl")


def test_a_backend_without_a_name_is_called_by_its_id(tmp_path: Path) -> None:
    assert backend(tmp_path, "port: 1").name == "a"


def test_an_ipv6_address_stands_in_brackets_in_the_url(tmp_path: Path) -> None:
    settings = load_text(tmp_path, 'backends: [{id: a, host: "fd00::7"}, {id: b, host: "[::1]", scheme: https}]')
    assert [entry.url for entry in settings.backends] == ["http://[fd00::7]:8188", "https://[::1]:8188"]


def test_more_than_two_jobs_at_once_act_as_two_and_say_so(tmp_path: Path) -> None:
    settings = load_text(tmp_path, "backends: [{id: a, host: render1, max_concurrent_jobs: 8}]")
    assert settings.backends[0].slots == 2
    assert len(settings.warnings) == 1
    assert "max_concurrent_jobs 8 acts as 2" in settings.warnings[0]


def test_backends_at_two_names_of_this_machine_are_warned_of_and_what_to_do_is_said(tmp_path: Path) -> None:
    settings = load_text(tmp_path, "backends: [{id: a, host: localhost}, {id: b, host: 127.0.0.1}]")
    [warning] = settings.warnings
    assert "a and b have the same address" in warning
    assert "Remove one of them" in warning


def test_other_addresses_of_this_machine_may_be_other_servers(tmp_path: Path) -> None:
    settings = load_text(tmp_path, "backends: [{id: a, host: 127.0.0.2}, {id: b, host: 127.0.0.1}]")
    assert settings.warnings == ()


def test_a_disabled_backend_shares_its_address_with_nobody(tmp_path: Path) -> None:
    settings = load_text(tmp_path, "backends: [{id: a, host: r1, enabled: false}, {id: b, host: r1}]")
    assert settings.warnings == ()


def test_two_backends_at_one_address_are_warned_of(tmp_path: Path) -> None:
    settings = load_text(tmp_path, "backends: [{id: a, host: r1}, {id: b, host: R1}, {id: c, host: r1, port: 1}]")
    assert [text for text in settings.warnings if "a and b have the same address" in text] == list(settings.warnings)
    assert settings.warnings


def test_keys_of_an_older_file_load_with_a_warning_each(tmp_path: Path) -> None:
    settings = load_text(tmp_path, "database_path: ./x.db\nbackends: [{id: a, host: r1, tags: [FLUX]}]\n")
    assert settings.backends[0].capabilities == ("flux",)
    assert [text.split()[0] for text in settings.warnings] == ["database_path", "backends[0].tags"]
    assert "data_dir" in settings.warnings[0]


def test_capabilities_win_over_tags(tmp_path: Path) -> None:
    settings = load_text(tmp_path, "backends: [{id: a, host: r1, tags: [old], capabilities: [new]}]\n")
    assert settings.backends[0].capabilities == ("new",)
    assert "ignored" in settings.warnings[0]


def test_headers_are_never_shown(tmp_path: Path) -> None:
    entry = backend(tmp_path, 'headers: {Authorization: "Bearer canary-7781"}')
    assert entry.headers["Authorization"].get_secret_value() == "Bearer canary-7781"
    assert "canary" not in repr(entry) + str(entry.model_dump()) + entry.model_dump_json()
    assert "canary" not in redact("the proxy said canary-7781")


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("server: {host: 0.0.0.0, port: 1234, allowed_hosts: [Studio.Local:80]}\n", encoding="utf-8")
    server = load_settings(file, host="localhost", port=0, environ={}).server
    assert (server.host, server.port, server.allowed_hosts) == ("localhost", 0, ("studio.local:80",))
    assert load_settings(file, environ={}).server.port == 1234


def test_a_wrong_port_on_the_command_line_is_told_as_an_option() -> None:
    with pytest.raises(SettingsError, match=r"--port: found 70000; a whole number from 0 to 65535 is needed"):
        Settings().with_server(port=70000)


def test_the_file_is_looked_for_in_the_documented_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, work, named, explicit = (tmp_path / name for name in ("own", "work", "named.yaml", "explicit.yaml"))
    (own / "orchestrator-mcp").mkdir(parents=True)
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr("platformdirs.user_config_path", lambda name, **_: own / name)
    environ = {"ORCHESTRATOR_CONFIG": str(named)}
    assert locate_config(None, environ={}) is None
    for file in (own / "orchestrator-mcp" / "config.yaml", work / "config.yaml"):
        file.write_text("", encoding="utf-8")
        assert locate_config(None, environ={}) == file
    for file in (named, explicit):
        file.write_text("", encoding="utf-8")
    assert locate_config(None, environ=environ) == named
    assert locate_config(Path("../explicit.yaml"), environ=environ) == explicit


@pytest.mark.parametrize("source", ["--config", "$ORCHESTRATOR_CONFIG"])
def test_a_named_file_that_is_missing_stops_the_start(tmp_path: Path, source: str) -> None:
    missing = tmp_path / "missing.yaml"
    explicit, environ = (missing, {}) if source == "--config" else (None, {"ORCHESTRATOR_CONFIG": str(missing)})
    with pytest.raises(SettingsError) as caught:
        load_settings(explicit, environ=environ)
    assert str(caught.value).startswith(f"{source} names {missing}, and there is no such file")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "backends:\nserver:\n  port:\n", "\ufeffoutbox: all\n"])
def test_an_empty_file_and_empty_keys_mean_the_defaults(tmp_path: Path, text: str) -> None:
    settings = load_text(tmp_path, text)
    assert (settings.backends, settings.server.port, settings.warnings) == ((), 9800, ())


def test_patience_and_limits_reach_placement(tmp_path: Path) -> None:
    text = 'scheduling: {patience: 5m, limits: [{name: up, most: 2, workflow: "up*"}]}\n'
    foresight = Foresight(SystemClock(), load_text(tmp_path, text).scheduling)
    outlook = foresight.outlook([], []).outlook
    assert (outlook.patience, dict(outlook.rooms)) == (300_000, {"up": 2})


def test_the_most_jobs_that_may_wait_are_a_number_for_each_or_numbers_by_name(tmp_path: Path) -> None:
    assert load_text(tmp_path, "scheduling: {max_queued: 500}\n").scheduling.max_queued == {"*": 500}
    named = load_text(tmp_path, 'scheduling: {max_queued: {film: 9, "*": 2}, share_by: project}\n')
    limits = named.queue_limits
    assert (limits.of("film"), limits.of("other"), limits.word) == (9, 2, "project")
    assert load_text(tmp_path, "").queue_limits.of("film") is None


@pytest.mark.parametrize("wrong", ["0", "-1", "many", "true", "1.5", "{film: 0}", "{film: x}", "[1]"])
def test_another_most_is_refused_with_what_is_needed(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(SettingsError, match="max_queued"):
        load_text(tmp_path, f"scheduling: {{max_queued: {wrong}}}\n")
