"""A picture as it is sent to a model server: at the size that the model is shown, and within what a body may hold."""

from __future__ import annotations

import base64
import io
import math

import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

MAX_PIXELS = 2048 * 2048
"""Larger pictures are scaled down before they are sent: OpenAI scales to this itself, and bodies are limited."""
MAX_BYTES = 5_000_000
"""Of the picture's file. A larger PNG is sent as JPEG: several servers take no more than this."""
_JPEG_QUALITIES = (95, 85, 70)


def sent_picture(image: Image.Image, shown: tuple[int, int] | None) -> Image.Image:
    """The picture as it is sent.

    Args:
        image: as uploaded.
        shown: width and height at which the model is shown it, where that is known. It is resized here by the very
            operation of the processor, so that a server that is set otherwise shows the model the same pixels.
    """
    image = image.convert("RGB")
    if shown is not None and shown[0] * shown[1] <= MAX_PIXELS:
        return image if shown == image.size else _resized(image, shown)
    pixels = image.width * image.height
    if pixels <= MAX_PIXELS:
        return image
    scale = math.sqrt(MAX_PIXELS / pixels)
    size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
    return image.resize(size, Image.Resampling.BOX)


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    pixels = transforms.pil_to_tensor(image)
    resized = transforms.resize(pixels, [size[1], size[0]], interpolation=InterpolationMode.BICUBIC, antialias=True)
    return transforms.to_pil_image(resized.to(torch.uint8))


def data_url(picture: Image.Image) -> str:
    """The picture in a data URL: a PNG, or a JPEG where the PNG is larger than `MAX_BYTES`."""
    kind, content = "png", _file(picture, "PNG")
    for quality in _JPEG_QUALITIES:
        if len(content) <= MAX_BYTES:
            break
        kind, content = "jpeg", _file(picture, "JPEG", quality=quality)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _file(picture: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
