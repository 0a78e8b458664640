"""ComfyUI workflows: found, read, converted, given parameters, and checked against what a backend has."""
