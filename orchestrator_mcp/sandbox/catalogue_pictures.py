"""The node classes that need no model, described as ComfyUI 0.3.64 describes its own."""

from __future__ import annotations

from orchestrator_mcp.sandbox.definitions import NodeClass, Slot, link, one_of, present, real, text, whole

_SIDE = 16384
_BATCH = 4096
_EXTRAS = "comfy_extras.nodes_"
_SAVED_WITH = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}

_UPSCALE = one_of("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
_PICTURE = (("IMAGE", "IMAGE"),)
_MASK = (("MASK", "MASK"),)


def _size() -> Slot:
    return whole(512, 1, _SIDE, 1)


MAKING: tuple[NodeClass, ...] = (
    NodeClass(
        name="EmptyImage",
        category="image",
        display_name="EmptyImage",
        required={
            "width": _size(),
            "height": _size(),
            "batch_size": whole(1, 1, _BATCH),
            "color": whole(0, 0, 0xFFFFFF, 1, display="color"),
        },
        outputs=_PICTURE,
        description="Makes pictures of one colour.",
    ),
    NodeClass(
        name="LoadImage",
        category="image",
        display_name="Load Image",
        required={"image": present("pictures", image_upload=True)},
        outputs=_PICTURE + _MASK,
        description="Reads a picture of the input folder.",
    ),
    NodeClass(
        name="LoadImageMask",
        category="mask",
        display_name="Load Image (as Mask)",
        required={
            "image": present("pictures", image_upload=True),
            "channel": one_of("alpha", "red", "green", "blue"),
        },
        outputs=_MASK,
        description="Reads one channel of a picture of the input folder.",
    ),
    NodeClass(
        name="SolidMask",
        category="mask",
        display_name="SolidMask",
        module=_EXTRAS + "mask",
        required={"value": real(1.0, 0.0, 1.0, 0.01), "width": _size(), "height": _size()},
        outputs=_MASK,
        description="Makes a mask of one value.",
    ),
    NodeClass(
        name="ImageInvert",
        category="image",
        display_name="Invert Image",
        required={"image": link("IMAGE")},
        outputs=_PICTURE,
        description="Turns every colour into its opposite.",
    ),
    NodeClass(
        name="ImageScale",
        category="image/upscaling",
        display_name="Upscale Image",
        required={
            "image": link("IMAGE"),
            "upscale_method": _UPSCALE,
            "width": whole(512, 0, _SIDE, 1),
            "height": whole(512, 0, _SIDE, 1),
            "crop": one_of("disabled", "center"),
        },
        outputs=_PICTURE,
        description="Scales to a size; a side of 0 follows the other one.",
    ),
    NodeClass(
        name="ImageScaleBy",
        category="image/upscaling",
        display_name="Upscale Image By",
        required={
            "image": link("IMAGE"),
            "upscale_method": _UPSCALE,
            "scale_by": real(1.0, 0.01, 8.0, 0.01),
        },
        outputs=_PICTURE,
        description="Scales by a factor.",
    ),
    NodeClass(
        name="ImageCrop",
        category="image/transform",
        display_name="Image Crop",
        module=_EXTRAS + "images",
        required={
            "image": link("IMAGE"),
            "width": _size(),
            "height": _size(),
            "x": whole(0, 0, _SIDE, 1),
            "y": whole(0, 0, _SIDE, 1),
        },
        outputs=_PICTURE,
        description="Cuts a rectangle out.",
    ),
    NodeClass(
        name="ImageBlur",
        category="image/postprocessing",
        display_name=None,
        module=_EXTRAS + "post_processing",
        required={
            "image": Slot(kind="IMAGE", config={}),
            "blur_radius": whole(1, 1, 31, 1),
            "sigma": real(1.0, 0.1, 10.0, 0.1),
        },
        outputs=_PICTURE,
        newer_style=True,
    ),
    NodeClass(
        name="ImageBatch",
        category="image",
        display_name="Batch Images",
        required={"image1": link("IMAGE"), "image2": link("IMAGE")},
        outputs=_PICTURE,
        description="Puts two batches one after the other, in the size of the first.",
    ),
    NodeClass(
        name="ImageFromBatch",
        category="image/batch",
        display_name="ImageFromBatch",
        module=_EXTRAS + "images",
        required={
            "image": link("IMAGE"),
            "batch_index": whole(0, 0, _BATCH - 1),
            "length": whole(1, 1, _BATCH),
        },
        outputs=_PICTURE,
        description="Takes some pictures of a batch.",
    ),
    NodeClass(
        name="RepeatImageBatch",
        category="image/batch",
        display_name="RepeatImageBatch",
        module=_EXTRAS + "images",
        required={"image": link("IMAGE"), "amount": whole(1, 1, _BATCH)},
        outputs=_PICTURE,
        description="Repeats a batch.",
    ),
    NodeClass(
        name="RebatchImages",
        category="image/batch",
        display_name="Rebatch Images",
        module=_EXTRAS + "rebatch",
        required={"images": Slot(kind="IMAGE", config={}), "batch_size": whole(1, 1, _BATCH)},
        outputs=_PICTURE,
        output_lists=(True,),
        newer_style=True,
        takes_lists=True,
    ),
    NodeClass(
        name="ImageToMask",
        category="mask",
        display_name="Convert Image to Mask",
        module=_EXTRAS + "mask",
        required={"image": link("IMAGE"), "channel": one_of("red", "green", "blue", "alpha")},
        outputs=_MASK,
        description="Makes a mask of one channel.",
    ),
    NodeClass(
        name="MaskToImage",
        category="mask",
        display_name="Convert Mask to Image",
        module=_EXTRAS + "mask",
        required={"mask": link("MASK")},
        outputs=_PICTURE,
        description="Makes a grey picture of a mask.",
    ),
    NodeClass(
        name="GetImageSize",
        category="image",
        display_name="Get Image Size",
        module=_EXTRAS + "images",
        required={"image": link("IMAGE")},
        hidden={"unique_id": "UNIQUE_ID"},
        outputs=(("INT", "width"), ("INT", "height"), ("INT", "batch_size")),
        description="Measures a batch of pictures.",
    ),
)
"""Classes that make, change and measure pictures and masks."""

SAVING: tuple[NodeClass, ...] = (
    NodeClass(
        name="PreviewAny",
        category="utils",
        display_name="Preview Any",
        module=_EXTRAS + "preview_any",
        required={"source": Slot(kind="*", config={})},
        output_node=True,
        description="Shows a value as text.",
    ),
    NodeClass(
        name="SaveImage",
        category="image",
        display_name="Save Image",
        required={
            "images": link("IMAGE", tooltip="The pictures that are written."),
            "filename_prefix": text(
                default="ComfyUI",
                tooltip="How the file names begin; may hold a subfolder and variables such as %width%.",
            ),
        },
        hidden=_SAVED_WITH,
        output_node=True,
        description="Writes the pictures to the output folder as PNG.",
    ),
    NodeClass(
        name="PreviewImage",
        category="image",
        display_name="Preview Image",
        required={"images": link("IMAGE")},
        hidden=_SAVED_WITH,
        output_node=True,
        description="Writes the pictures to the temp folder as PNG.",
    ),
    NodeClass(
        name="SaveAnimatedWEBP",
        category="image/animation",
        display_name="SaveAnimatedWEBP",
        module=_EXTRAS + "images",
        required={
            "images": link("IMAGE"),
            "filename_prefix": text(default="ComfyUI"),
            "fps": real(6.0, 0.01, 1000.0, 0.01),
            "lossless": Slot(kind="BOOLEAN", config={"default": True}),
            "quality": whole(80, 0, 100),
            "method": one_of("default", "fastest", "slowest"),
        },
        hidden=_SAVED_WITH,
        output_node=True,
        description="Writes the pictures to the output folder as one animation.",
    ),
)
"""Classes that a prompt may end in."""
