"""How the house is put together: the core that works, and the doors before it. `app` runs them."""
