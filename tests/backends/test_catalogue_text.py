"""A catalogue as text: JSON for everybody, whatever a server wrote; and the same name for equal ones."""

from __future__ import annotations

import json

from orchestrator_mcp.backends.catalogue import parse_catalogue
from orchestrator_mcp.backends.shapes import parse_json


def test_numbers_that_json_does_not_have_become_null() -> None:
    raw = parse_json('{"A": {"input": {"required": {"x": ["FLOAT", {"max": Infinity, "min": NaN, "step": 0.5}]}}}}')
    written = json.loads(parse_catalogue(raw).as_json(), parse_constant=lambda name: name)
    assert written["A"]["input"]["required"]["x"] == ["FLOAT", {"max": None, "min": None, "step": 0.5}]


def test_a_half_letter_is_no_fault() -> None:
    catalogue = parse_catalogue(parse_json('{"A": {"display_name": "\\ud83d"}}'))
    assert json.loads(catalogue.as_json()) == {"A": {"display_name": "\ud83d"}}
    assert catalogue.digest


def test_equal_catalogues_have_one_digest_whatever_the_order_of_their_classes() -> None:
    one, other = '{"A": {"output": []}, "B": {}}', '{"B": {}, "A": {"output": []}}'
    digest = parse_catalogue(parse_json(one)).digest
    assert digest == parse_catalogue(parse_json(other)).digest
    assert digest != parse_catalogue({"A": {"output": []}}).digest
