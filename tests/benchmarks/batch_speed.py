"""Batch analysis against one-by-one `generate`, the same model, scans and process.

    python -m tests.benchmarks.batch_speed [--tiny]

The two take turns, a batch of scans each, so that whatever else the machine does hits both alike. `ratio` is the
seconds of transformers' plain greedy `generate` on one scan after the other (processor, generate, decode) over
those of our answers to the same scans in a batch; `ratio_whole` is whole analyses (both models, parsing, risk) one by
one over the same together. `identical_text`: whether every answer is the same, letter by letter. The last line is
one JSON object.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL.Image import Image

from xray_app.analysis import BATCH, Analyser
from xray_app.detector.load import load_detector
from xray_app.report import instruction
from xray_app.scan.read import Limits, Scan, read_scan
from xray_app.settings import Settings
from xray_app.simulate.scene import simulate_scan
from xray_app.taxonomy import load_taxonomy
from xray_app.vlm.load import load_local
from xray_app.vlm.local import LocalVlm
from xray_app.vlm.prompt import build_messages

SEED = 20_261_125


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--tiny", action="store_true", help="a quick look: one batch")
    batches = 1 if asked.parse_args().tiny else 6
    settings, taxonomy = Settings(), load_taxonomy()
    vlm = load_local("bundled")
    analyser = Analyser(vlm, load_detector(settings, taxonomy), taxonomy.rules())
    scans = [scan_of(SEED + number) for number in range(batches * BATCH)]
    one_by_one(vlm, [scans[0].image])
    together(vlm, [scan.image for scan in scans[:2]])
    analyser.analyse(scans[0])
    seconds = dict.fromkeys(("theirs", "ours", "alone", "together"), 0.0)
    identical = True

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        found = work()
        seconds[name] += time.perf_counter() - started
        return found

    for start in range(0, len(scans), BATCH):
        group = scans[start : start + BATCH]
        images = [scan.image for scan in group]
        theirs = timed("theirs", lambda images=images: one_by_one(vlm, images))
        ours = timed("ours", lambda images=images: together(vlm, images))
        identical &= theirs == ours
        timed("alone", lambda group=group: [analyser.analyse(scan) for scan in group])
        timed("together", lambda group=group: analyser.analyse_together(group))
    result = {
        "ratio": round(seconds["theirs"] / seconds["ours"], 3),
        "identical_text": identical,
        "ratio_whole": round(seconds["alone"] / seconds["together"], 3),
        "scans": len(scans),
        "batch": BATCH,
        "ms_a_scan": round(seconds["ours"] / len(scans) * 1000, 1),
        "ms_a_scan_one_by_one": round(seconds["theirs"] / len(scans) * 1000, 1),
    }
    print(json.dumps(result))


def scan_of(seed: int) -> Scan:
    file = io.BytesIO()
    simulate_scan(seed, load_taxonomy(), items=(0, 6)).image.save(file, "PNG")
    return read_scan(file.getvalue(), f"{seed}.png", Limits(10**8, 10**8))


def one_by_one(vlm: LocalVlm, images: Sequence[Image]) -> list[str]:
    """As the model cards of the hub do it."""
    texts = []
    prompt = vlm.processor.apply_chat_template(
        build_messages(instruction()), tokenize=False, add_generation_prompt=True
    )
    for image in images:
        inputs = vlm.processor(images=[image], text=[prompt], return_tensors="pt").to(vlm.model.device)
        with torch.inference_mode():
            out = vlm.model.generate(**inputs, max_new_tokens=vlm.max_new_tokens, do_sample=False)
        said = out[:, inputs["input_ids"].shape[1] :]
        texts += vlm.processor.batch_decode(said, skip_special_tokens=True)
    return texts


def together(vlm: LocalVlm, images: Sequence[Image]) -> list[str]:
    return [answer.text for answer in vlm.answer(images, [instruction()] * len(images))]


if __name__ == "__main__":
    main()
