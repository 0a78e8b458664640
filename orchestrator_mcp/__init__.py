"""The Director's Console Orchestrator: one manifest, three doors, real pixels."""

__version__ = "0.1.0"
