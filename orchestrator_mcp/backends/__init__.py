"""The ComfyUI servers of the farm: spoken to, looked at, and known by what they have and how fast they are."""
