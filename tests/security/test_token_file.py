"""The file with further tokens: strictly read, private, and never told."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from orchestrator_mcp.domain.access import Caller, KnownToken, Scope, bearer_of, digest_of
from orchestrator_mcp.errors import SettingsError
from orchestrator_mcp.redaction import redact
from orchestrator_mcp.settings import load_settings
from orchestrator_mcp.settings.addresses import is_loopback
from orchestrator_mcp.settings.token_file import read_token_file

SECRET = "canary-0123456789-abcdefghij"


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "tokens.yaml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_a_token_and_the_hash_of_one_let_in_the_same(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"another-token-0123456789").hexdigest()
    text = f"""tokens:
  - {{name: alice, token: {SECRET}, scopes: [submit]}}
  - name: ci@studio
    sha256: {digest.upper()}
    scopes: [read, admin]
"""
    known = read_token_file(written(tmp_path, text))
    assert [(token.name, token.scope) for token in known] == [("alice", Scope.SUBMIT), ("ci@studio", Scope.ADMIN)]
    assert bearer_of([SECRET.encode()], known) == known[0]
    assert bearer_of([b"x", b"another-token-0123456789"], known) == known[1]
    assert bearer_of([digest.encode(), SECRET[:-1].encode(), b""], known) is None
    assert SECRET not in repr(known)
    assert redact(f"saw {SECRET}") == "saw [hidden]"


def test_json_is_taken_as_well(tmp_path: Path) -> None:
    entries = {"tokens": [{"name": "alice", "token": SECRET, "scopes": ["read"]}]}
    (known,) = read_token_file(written(tmp_path, json.dumps(entries)))
    assert known == KnownToken(name="alice", scope=Scope.READ, digest=digest_of(SECRET.encode()))


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (f"{{name: alice, token: {SECRET}}}", "scopes: is missing"),
        ("{name: alice, scopes: [read]}", "either token or sha256"),
        (f"{{name: alice, token: {SECRET}, sha256: {'ab' * 32}, scopes: [read]}}", "either token or sha256"),
        (f"{{name: alice, token: {SECRET}, scopes: []}}", "scopes"),
        (f"{{name: alice, token: {SECRET}, scopes: [root]}}", "read, submit, admin"),
        ("{name: alice, token: canary-short, scopes: [read]}", "20 to 200 characters"),
        (f"{{name: alice, token: '{SECRET} {SECRET}', scopes: [read]}}", "20 to 200 characters"),
        ("{name: alice, token: 12345678901234567890123, scopes: [read]}", "20 to 200 characters"),
        ("{name: alice, sha256: 'abc', scopes: [read]}", "64 hex digits"),
        (f"{{name: admin, token: {SECRET}, scopes: [read]}}", "taken by the server itself"),
        (f"{{name: anonymous, token: {SECRET}, scopes: [read]}}", "taken by the server itself"),
        (f"{{name: 'a b', token: {SECRET}, scopes: [read]}}", "1 to 64"),
        (f"{{name: alice, token: {SECRET}, scopes: [read], role: x}}", "no such key"),
    ],
)
def test_a_wrong_entry_is_told_by_file_line_and_key_and_never_its_secret(tmp_path: Path, entry: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_token_file(written(tmp_path, f"tokens:\n  - {entry}\n"))
    said = str(caught.value)
    assert told in said and f"{tmp_path}/tokens.yaml" in said
    assert "canary" not in said and "1234567890" not in said


def test_names_and_tokens_belong_to_one_caller(tmp_path: Path) -> None:
    one = f"{{name: alice, token: {SECRET}, scopes: [read]}}"
    with pytest.raises(SettingsError, match="two tokens have the name 'alice'"):
        read_token_file(written(tmp_path, f"tokens:\n  - {one}\n  - {one.replace('canary', 'another')}\n"))
    with pytest.raises(SettingsError, match="is another caller's as well"):
        read_token_file(written(tmp_path, f"tokens:\n  - {one}\n  - {one.replace('alice', 'bob')}\n"))


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path) -> None:
    plain = f"tokens: [{{name: alice, token: {SECRET}, scopes: [read]}}]"
    for mode in (0o640, 0o604, 0o620, 0o602, 0o666):
        with pytest.raises(SettingsError, match="chmod 600"):
            read_token_file(written(tmp_path, plain, mode))
    hashed = f"tokens: [{{name: alice, sha256: {'ab' * 32}, scopes: [read]}}]"
    assert read_token_file(written(tmp_path, hashed, 0o644))
    with pytest.raises(SettingsError, match="chmod 600"):
        read_token_file(written(tmp_path, hashed, 0o664))


def test_the_file_in_the_documentation_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```text\n(# tokens.yaml.*?)^```$", page, re.MULTILINE | re.DOTALL)
    known = read_token_file(written(tmp_path, example))
    assert [(token.name, token.scope) for token in known] == [
        ("storyboard", Scope.SUBMIT),
        ("wall-screen", Scope.READ),
    ]


def test_a_missing_file_stops_the_start_in_words(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no such file"):
        read_token_file(tmp_path / "nothing.yaml")


def test_the_file_is_looked_for_beside_the_configuration_and_asks_for_tokens_on_loopback(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("server: {tokens_file: keys/tokens.yaml}\n", encoding="utf-8")
    server = load_settings(tmp_path / "config.yaml", environ={}).server
    assert server.tokens_file == tmp_path / "keys" / "tokens.yaml"
    assert server.asks_for_token and not server.exposed
    assert load_settings(tmp_path / "config.yaml", host="0.0.0.0", environ={}).server.exposed


def test_a_wider_scope_includes_the_narrower_ones() -> None:
    reach = {scope: [other for other in Scope if Caller(scope=scope).may(other)] for scope in Scope}
    assert reach == {
        Scope.READ: [Scope.READ],
        Scope.SUBMIT: [Scope.READ, Scope.SUBMIT],
        Scope.ADMIN: [Scope.READ, Scope.SUBMIT, Scope.ADMIN],
    }


def test_only_the_owner_with_submit_or_an_admin_ends_a_job() -> None:
    assert Caller(name="alice", scope=Scope.SUBMIT).may_end("alice")
    assert not Caller(name="alice", scope=Scope.READ).may_end("alice")
    assert not Caller(name="bob", scope=Scope.SUBMIT).may_end("alice")
    assert Caller(name="bob", scope=Scope.ADMIN).may_end("alice")
    assert Caller(name="anonymous", scope=Scope.SUBMIT).may_end("anonymous")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.168.1.5", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
    ],
)
def test_only_loopback_counts_as_this_machine_alone(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
