"""The nodes that really work on pictures and masks. All of this runs in worker threads."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageChops, ImageFilter, ImageOps

from orchestrator_mcp.sandbox.nodes.values import NodeCall, NodeError, NodeResult, Pictures, guard_size

_RESAMPLING = {
    "nearest-exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_CHANNELS = {"red": 0, "green": 1, "blue": 2, "alpha": 3}
_MAX_PIXELS = 16384 * 16384


def _each(pictures: Pictures, change: Callable[[Image.Image], Image.Image]) -> Pictures:
    """Change every picture, and equal objects only once: batches often repeat one picture."""
    done: dict[int, Image.Image] = {}
    for picture in pictures:
        if id(picture) not in done:
            done[id(picture)] = change(picture)
    return tuple(done[id(picture)] for picture in pictures)


def _one(value: object) -> NodeResult:
    return NodeResult(outputs=(value,))


def empty_image(call: NodeCall) -> NodeResult:
    """Make a batch of one colour.

    Args:
        call: With ``width``, ``height``, ``batch_size`` and ``color`` (0xRRGGBB).
    """
    width, height, count = call.inputs["width"], call.inputs["height"], call.inputs["batch_size"]
    guard_size(width, height, count)
    colour = call.inputs["color"]
    fill = (colour >> 16 & 0xFF, colour >> 8 & 0xFF, colour & 0xFF)
    return _one((Image.new("RGB", (width, height), fill),) * count)


def solid_mask(call: NodeCall) -> NodeResult:
    """Make a mask of one value.

    Args:
        call: With ``value`` (0 to 1), ``width`` and ``height``.
    """
    width, height = call.inputs["width"], call.inputs["height"]
    guard_size(width, height, 1, 1)
    return _one((Image.new("L", (width, height), round(call.inputs["value"] * 255)),))


def _opened(call: NodeCall) -> Image.Image:
    path = call.folders.annotated(str(call.inputs["image"]))
    with Image.open(path) as picture:
        if picture.width * picture.height > _MAX_PIXELS:
            raise NodeError(f"{path.name} has more pixels than fit ({picture.width}x{picture.height})")
        upright = ImageOps.exif_transpose(picture) or picture
        upright.load()
        return upright.copy()


def _clearness(picture: Image.Image) -> Image.Image:
    """Give the inverted alpha channel, or a small black mask if there is none."""
    if "A" not in picture.getbands():
        return Image.new("L", (64, 64), 0)
    return ImageChops.invert(picture.getchannel("A"))


def load_image(call: NodeCall) -> NodeResult:
    """Read a picture and its transparency; the mask is 1 where nothing is to be seen.

    Args:
        call: With ``image``, a name in the input folder.
    """
    picture = _opened(call)
    return NodeResult(outputs=((picture.convert("RGB"),), (_clearness(picture),)))


def load_image_mask(call: NodeCall) -> NodeResult:
    """Read one channel of a picture.

    Args:
        call: With ``image`` and ``channel``.
    """
    picture = _opened(call)
    channel = call.inputs["channel"]
    if channel == "alpha":
        return _one((_clearness(picture),))
    return _one((picture.convert("RGB").getchannel(_CHANNELS[channel]),))


def image_invert(call: NodeCall) -> NodeResult:
    """Invert every colour.

    Args:
        call: With ``image``.
    """
    return _one(_each(call.inputs["image"], ImageChops.invert))


def _scaled(pictures: Pictures, method: str, size: tuple[int, int]) -> Pictures:
    guard_size(*size, len(pictures))
    return _each(pictures, lambda picture: picture.resize(size, _RESAMPLING[method]))


def image_scale(call: NodeCall) -> NodeResult:
    """Scale to a size, cutting the middle out first if asked.

    Args:
        call: With ``image``, ``upscale_method``, ``width``, ``height`` and ``crop``; a side of 0 is derived.
    """
    pictures: Pictures = call.inputs["image"]
    width, height = call.inputs["width"], call.inputs["height"]
    old_width, old_height = pictures[0].size
    if width == 0 and height == 0:
        return _one(pictures)
    width = width or max(1, round(old_width * height / old_height))
    height = height or max(1, round(old_height * width / old_width))
    if call.inputs["crop"] == "center":
        pictures = _each(pictures, lambda picture: _middle(picture, width / height))
    return _one(_scaled(pictures, call.inputs["upscale_method"], (width, height)))


def _middle(picture: Image.Image, aspect: float) -> Image.Image:
    keep_width = min(picture.width, max(1, round(picture.height * aspect)))
    keep_height = min(picture.height, max(1, round(picture.width / aspect)))
    left, top = (picture.width - keep_width) // 2, (picture.height - keep_height) // 2
    return picture.crop((left, top, left + keep_width, top + keep_height))


def image_scale_by(call: NodeCall) -> NodeResult:
    """Scale by a factor.

    Args:
        call: With ``image``, ``upscale_method`` and ``scale_by``.
    """
    pictures: Pictures = call.inputs["image"]
    factor = call.inputs["scale_by"]
    size = (max(1, round(pictures[0].width * factor)), max(1, round(pictures[0].height * factor)))
    return _one(_scaled(pictures, call.inputs["upscale_method"], size))


def image_crop(call: NodeCall) -> NodeResult:
    """Cut a rectangle out, kept inside the picture.

    Args:
        call: With ``image``, ``width``, ``height``, ``x`` and ``y``.
    """
    pictures: Pictures = call.inputs["image"]
    left = min(call.inputs["x"], pictures[0].width - 1)
    top = min(call.inputs["y"], pictures[0].height - 1)
    right = min(left + call.inputs["width"], pictures[0].width)
    bottom = min(top + call.inputs["height"], pictures[0].height)
    return _one(_each(pictures, lambda picture: picture.crop((left, top, right, bottom))))


def image_blur(call: NodeCall) -> NodeResult:
    """Blur every picture.

    Args:
        call: With ``image``, ``blur_radius`` and ``sigma``, in pixels.
    """
    radius = min(float(call.inputs["sigma"]), float(call.inputs["blur_radius"]))
    return _one(_each(call.inputs["image"], lambda picture: picture.filter(ImageFilter.GaussianBlur(radius))))


def image_batch(call: NodeCall) -> NodeResult:
    """Join two batches in the size of the first.

    Args:
        call: With ``image1`` and ``image2``.
    """
    first: Pictures = call.inputs["image1"]
    second: Pictures = call.inputs["image2"]
    size = first[0].size
    if second[0].size != size:
        aspect = size[0] / size[1]
        second = _scaled(_each(second, lambda picture: _middle(picture, aspect)), "bilinear", size)
    guard_size(*size, len(first) + len(second))
    return _one(first + second)


def image_from_batch(call: NodeCall) -> NodeResult:
    """Take a run of pictures; both ends are kept inside the batch.

    Args:
        call: With ``image``, ``batch_index`` and ``length``.
    """
    pictures: Pictures = call.inputs["image"]
    start = min(len(pictures) - 1, call.inputs["batch_index"])
    return _one(pictures[start : start + call.inputs["length"]])


def repeat_image_batch(call: NodeCall) -> NodeResult:
    """Repeat a batch.

    Args:
        call: With ``image`` and ``amount``.
    """
    pictures: Pictures = call.inputs["image"]
    guard_size(*pictures[0].size, len(pictures) * call.inputs["amount"])
    return _one(pictures * call.inputs["amount"])


def rebatch_images(call: NodeCall) -> NodeResult:
    """Cut everything into batches of another size; the one output is a list of batches.

    Args:
        call: With lists of ``images`` and ``batch_size``.
    """
    size = call.inputs["batch_size"][0]
    every: Pictures = tuple(picture for batch in call.inputs["images"] for picture in batch)
    return _one([every[start : start + size] for start in range(0, len(every), size)])


def image_to_mask(call: NodeCall) -> NodeResult:
    """Take one channel as a mask.

    Args:
        call: With ``image`` and ``channel``.
    """
    place = _CHANNELS[call.inputs["channel"]]
    if place == _CHANNELS["alpha"]:
        raise NodeError("index 3 is out of bounds for dimension 3 with size 3", "IndexError")
    return _one(_each(call.inputs["image"], lambda picture: picture.getchannel(place)))


def mask_to_image(call: NodeCall) -> NodeResult:
    """Show a mask as a grey picture.

    Args:
        call: With ``mask``.
    """
    return _one(_each(call.inputs["mask"], lambda mask: mask.convert("RGB")))
