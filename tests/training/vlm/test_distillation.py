from __future__ import annotations

import pytest
import torch

from training.vlm.distillation import DetectorTeacher
from training.vlm.pretrain_data import BoxedScan
from xray_app.settings import BUNDLED_DETECTOR

pytest.importorskip("cv2", reason="LibreYOLO needs OpenCV, which needs libGL", exc_type=ImportError)


def test_each_row_is_what_the_detector_sees_at_that_patch_and_sizes_may_mix() -> None:
    torch.manual_seed(0)
    wide, high = (BoxedScan(torch.randint(0, 255, (3, *size), dtype=torch.uint8), torch.zeros(0, 5)) for size in SIZES)
    teacher = DetectorTeacher(BUNDLED_DETECTOR, [wide, high])
    features = teacher.features([wide, high])
    assert features.shape == (4 * 8 + 6 * 4, teacher.width)
    # The library's order: 2 x 2 patches that merge lie together. Row 3, column 5 is the merged token (1, 2) of 2 x 4,
    # and in it the patch (1, 1).
    alone = teacher.features([wide])
    torch.testing.assert_close(features[: 4 * 8], alone)
    pictures = torch.nn.functional.interpolate(
        wide.pixels[None, [2, 1, 0]].float(), (64, 128), mode="bilinear", antialias=True
    )
    maps = teacher._maps(pictures.to(memory_format=torch.channels_last))
    torch.testing.assert_close(alone[(1 * 4 + 2) * 4 + 3], maps[0, :, 3, 5])
    assert teacher.loss((features - teacher._mean) / teacher._deviation, [wide, high]) < 0.1


SIZES = ((56, 112), (84, 56))
