"""The slate: a card that says what a diffusion model would have been asked for, and that none was."""

from __future__ import annotations

import hashlib

from PIL import Image, ImageDraw, ImageFont

from orchestrator_mcp.sandbox.nodes.values import Latent


def draw_slate(latent: Latent, number: int) -> Image.Image:
    """Draw the slate of one latent of a batch.

    Args:
        latent: A sampled latent.
        number: Which of the batch, from 0.
    """
    assert latent.sampling is not None
    shade = hashlib.sha256(f"{latent.sampling.seed} {number}".encode()).digest()
    picture = Image.new("RGB", (latent.width, latent.height), (shade[0] // 3, shade[1] // 3, shade[2] // 3))
    draw = ImageDraw.Draw(picture)
    draw.text((4, 4), "SANDBOX SLATE", font=ImageFont.load_default(max(6, latent.width // 20)), fill="white")
    return picture
