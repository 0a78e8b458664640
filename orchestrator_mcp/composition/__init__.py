"""Builds every object, and nobody else does: the core that works, and the doors before it. `app` runs them."""
