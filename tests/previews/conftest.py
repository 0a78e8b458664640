from tests.partners import sandbox, sandboxes

__all__ = ["sandbox", "sandboxes"]
