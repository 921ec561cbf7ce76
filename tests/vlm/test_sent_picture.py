"""A picture as it is sent: a PNG of what the model is shown, a JPEG where that is too large a file."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from xray_app.settings import BUNDLED_VLM
from xray_app.vlm import sent_picture
from xray_app.vlm.pictures import QWEN2_5_VL, ShownSize
from xray_app.vlm.sent_picture import data_url


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def opened(url: str) -> tuple[str, Image.Image, int]:
    kind, _, content = url.partition(";base64,")
    file = base64.b64decode(content)
    image = Image.open(io.BytesIO(file))
    image.load()
    return kind, image, len(file)


def test_a_picture_is_a_png_until_it_is_too_large_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = noise(100, 80)
    size = opened(data_url(picture))[2]
    for most, expected in ((size, "data:image/png"), (size - 1, "data:image/jpeg")):
        monkeypatch.setattr(sent_picture, "MAX_BYTES", most)
        kind, image, length = opened(data_url(picture))
        assert (kind, image.size) == (expected, (100, 80))
        assert length <= most
    monkeypatch.setattr(sent_picture, "MAX_BYTES", 1)
    assert opened(data_url(picture))[0] == "data:image/jpeg", "as small as it gets"


@pytest.mark.parametrize("size", [(300, 200), (640, 120), (50, 40)])
def test_resized_here_the_model_is_shown_the_very_pixels_of_its_own_processor(size: tuple[int, int]) -> None:
    processor = AutoProcessor.from_pretrained(BUNDLED_VLM)
    shown = ShownSize.of(processor)
    assert shown is not None
    picture = noise(*size)
    sent = sent_picture.sent_picture(picture, shown.shown(size))
    assert sent.size == shown.shown(size) == shown.shown(sent.size), "the server leaves it as it is"
    own, again = (processor.image_processor(images=[one], return_tensors="pt") for one in (picture, sent))
    assert torch.equal(own["image_grid_thw"], again["image_grid_thw"])
    assert torch.equal(own["pixel_values"], again["pixel_values"])


def test_a_picture_no_model_takes_goes_as_it_is() -> None:
    assert QWEN2_5_VL.shown((9000, 3)) == (9000, 3)
    assert sent_picture.sent_picture(Image.new("RGB", (900, 3)), QWEN2_5_VL.shown((900, 3))).size == (900, 3)
