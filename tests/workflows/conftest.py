"""Fixtures of the workflow tests."""

from tests.partners import sandbox, sandboxes

__all__ = ["sandbox", "sandboxes"]
