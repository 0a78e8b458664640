"""`python -m orchestrator_mcp.cli`."""

from orchestrator_mcp.cli import main

main()
