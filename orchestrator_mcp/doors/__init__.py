"""The ways in for programs and agents; each parses, calls the service once, and renders the answer."""
