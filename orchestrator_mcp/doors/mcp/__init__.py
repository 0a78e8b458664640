"""The agents' door: the tools, and the three transports that carry them."""
