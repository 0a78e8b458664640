"""Graphs that every ComfyUI can render without a model."""

from __future__ import annotations

import uuid
from typing import Any

from tests.partners import picture_graph

Graph = dict[str, Any]


def own_prefix() -> str:
    """A prefix that no earlier run used, so that nothing comes from a cache."""
    return f"orchestrator-test/{uuid.uuid4().hex}"


def plain(batch: int = 1, colour: int = 0x3366CC, size: int = 64) -> Graph:
    """A source of plain pictures as node 1, and nothing that keeps them.

    Args:
        batch: how many.
        colour: 0xRRGGBB.
        size: width and height, in pixels.
    """
    fill = {"width": size, "height": size, "batch_size": batch, "color": colour}
    return {"1": {"class_type": "EmptyImage", "inputs": fill}}


def blurred(pictures: int, size: int = 256, colour: int = 0x3366CC) -> Graph:
    """A slow graph: 512 pixels take about half a second per picture on one core. It can be stopped between two.

    Args:
        pictures: how many.
        size: width and height, in pixels.
        colour: graphs of one colour share what the server has cached.
    """
    graph = picture_graph(own_prefix(), size=size, colour=colour)
    graph["1"]["inputs"]["batch_size"] = pictures
    graph["2"] = {"class_type": "RebatchImages", "inputs": {"images": ["1", 0], "batch_size": 1}}
    graph["4"] = {"class_type": "ImageBlur", "inputs": {"image": ["2", 0], "blur_radius": 31, "sigma": 10.0}}
    graph["3"]["inputs"]["images"] = ["4", 0]
    return graph


def long(colour: int) -> Graph:
    """A graph that would take a minute; every test has a colour of its own and stops it.

    Args:
        colour: 0xRRGGBB.
    """
    return blurred(96, size=512, colour=colour)


def every_kind() -> Graph:
    """Saved pictures (3), an animation (4), a text (6) and temporary previews (5)."""
    return {
        **plain(),
        "8": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "2": {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["8", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "still"}},
        "4": {
            "class_type": "SaveAnimatedWEBP",
            "inputs": {
                "images": ["2", 0],
                "filename_prefix": "moving",
                "fps": 6.0,
                "lossless": True,
                "quality": 80,
                "method": "fastest",
            },
        },
        "5": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        "6": {"class_type": "PreviewAny", "inputs": {"source": ["7", 0]}},
        "7": {"class_type": "GetImageSize", "inputs": {"image": ["1", 0]}},
    }


def film() -> Graph:
    """Eight pictures as an MP4 (3) and as a WebM (4)."""
    return {
        **plain(batch=8),
        "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}},
        "3": {
            "class_type": "SaveVideo",
            "inputs": {"video": ["2", 0], "filename_prefix": "film", "format": "mp4", "codec": "h264"},
        },
        "4": {
            "class_type": "SaveWEBM",
            "inputs": {"images": ["1", 0], "filename_prefix": "film", "codec": "vp9", "fps": 8.0, "crf": 32.0},
        },
    }


def broken() -> Graph:
    """Node 4 passes every check and raises: it blends three pictures with two."""
    return {
        **plain(batch=3),
        "2": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 2, "color": 1},
        },
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "first"}},
        "4": {
            "class_type": "ImageBlend",
            "inputs": {"image1": ["1", 0], "image2": ["2", 0], "blend_factor": 0.5, "blend_mode": "normal"},
        },
        "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "second"}},
    }
