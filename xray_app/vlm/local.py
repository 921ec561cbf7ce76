"""A local vision-language model: transformers for the base, PEFT for the adapter."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftConfig, get_peft_model
from peft.utils import load_peft_weights, set_peft_model_state_dict
from PIL.Image import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig

from xray_app.errors import BadModel
from xray_app.vlm.base import Answer
from xray_app.vlm.prompt import batch, encode

logger = logging.getLogger(__name__)

Dtype = Literal["auto", "bf16", "fp16", "fp32", "nf4"]

# Above this many bytes of weights their hash is taken over names, sizes and headers instead.
_HASH_IN_FULL = 2 * 1024**3
# On a CPU, models larger than this keep the precision they were saved in: fp32 would not fit.
_BIG = 4 * 1024**3


def weights_hash(folder: Path) -> str:
    """SHA-256 that tells one base model's weights from another's.

    Covers every safetensors file (whole, or name, size and header for very large models) and the
    config, so that an adapter is never put on a foreign base.
    """
    digest = hashlib.sha256()
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadModel(f"{folder} holds no .safetensors weights; other formats are not loaded.")
    whole = sum(file.stat().st_size for file in files) <= _HASH_IN_FULL
    for file in files:
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as handle:
            if whole:
                for chunk in iter(lambda: handle.read(1 << 20), b""):
                    digest.update(chunk)
            else:
                length = int.from_bytes(handle.read(8), "little")
                digest.update(handle.read(min(length, 1 << 26)))
    return digest.hexdigest()


def resolve_folder(name: str) -> Path:
    """The folder of a model given as a folder or a Hub id.

    Raises:
        BadModel: there is no such folder and the Hub has, or reaches, no such model.
    """
    if (folder := Path(name)).is_dir():
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.jinja"]))
    except Exception as error:
        raise BadModel(
            f"The model {name!r} is neither a folder here nor could it be fetched from the hub: {error}"
        ) from error


class LocalVlm:
    """One base model in memory, answering with at most one adapter at a time.

    Guarded by a lock: generation and a change of adapter never overlap.
    """

    def __init__(self, model: Any, processor: Any, name: str, weights_sha256: str, max_new_tokens: int):
        self.model = model.eval()
        self.processor = processor
        self.name = name
        self.weights_sha256 = weights_sha256
        self.max_new_tokens = max_new_tokens
        self.lock = threading.RLock()
        self._base = self.model
        tokenizer = processor.tokenizer
        ends = self.model.generation_config.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id

    @classmethod
    def load(cls, name: str, dtype: Dtype = "auto", *, label: str | None = None, max_new_tokens: int = 192) -> LocalVlm:
        """Loads a model by folder or Hub id, onto the GPU where there is one.

        Args:
            name: a folder or a Hub id such as `reducto/RolmOCR`.
            dtype: serving precision; "auto" is the saved one on a GPU and fp32 on a CPU, unless the
                model is too large for that.
            label: the name to report instead of `name`.
            max_new_tokens: an answer longer than this is cut off and marked incomplete.

        Raises:
            BadModel: the model cannot be found or loaded; the message says why.
        """
        folder = resolve_folder(name)
        sha256 = weights_hash(folder)
        try:
            processor = AutoProcessor.from_pretrained(folder)
            model = AutoModelForImageTextToText.from_pretrained(folder, **_precision(folder, dtype))
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise BadModel(f"The model in {folder} does not load: {error}") from error
        return cls(model, processor, label or name, sha256, max_new_tokens)

    def answer(self, images: Sequence[Image], instructions: Sequence[str]) -> list[Answer]:
        """Answers each (picture, instruction) pair, greedily and in one batch."""
        if not images:
            return []
        encoded = encode(self.processor, images, instructions)
        inputs = batch(encoded, self._pad, side="left")
        with self.lock, torch.inference_mode():
            device = self.model.device
            out = self.model.generate(
                **{key: value.to(device) for key, value in inputs.items()},
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                # None keeps a base model's sampling defaults from warning about greedy search.
                temperature=None,
                top_p=None,
                top_k=None,
                repetition_penalty=1.0,
                pad_token_id=self._pad,
                return_dict_in_generate=True,
                output_logits=True,
            )
        prompt = inputs["input_ids"].shape[1]
        said = out.sequences[:, prompt:]
        logits = torch.stack(out.logits, dim=1).float()
        chosen = torch.softmax(logits, dim=-1).gather(-1, said.unsqueeze(-1)).squeeze(-1)
        return [
            self._answer(ids, probabilities) for ids, probabilities in zip(said.tolist(), chosen.tolist(), strict=True)
        ]

    def _answer(self, ids: list[int], probabilities: list[float]) -> Answer:
        stop = next((place for place, token in enumerate(ids) if token in self._ends), None)
        ids = ids if stop is None else ids[:stop]
        decode = self.processor.tokenizer.decode
        spans, end = [], 0
        for place in range(len(ids)):
            start, end = end, len(decode(ids[: place + 1], skip_special_tokens=True))
            spans.append((start, end, probabilities[place]))
        return Answer(decode(ids, skip_special_tokens=True), stop is not None, tuple(spans))

    def use_adapter(self, folder: Path | None) -> None:
        """Answers with the adapter in `folder` from now on; None is the base model.

        Raises:
            BadModel: a key of the adapter is missing or unexpected, or it does not load at all.
                The base model is in use then: a half-loaded adapter never answers.
        """
        with self.lock:
            if self.model is not self._base:
                self._base = self.model.unload()
                self.model = self._base
            if folder is None:
                return
            self.model = attach(self._base, folder).eval()


def attach(base: Any, folder: Path, *, trainable: bool = False) -> Any:
    """Puts a PEFT adapter on a base model, refusing any key that does not match.

    PEFT itself only warns, and such an adapter answers exactly like the base.

    Raises:
        BadModel: naming the keys that are missing or unexpected.
    """
    try:
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = not trainable
        wrapped = get_peft_model(base, config)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadModel(f"The adapter in {folder} does not fit this model: {error}") from error
    try:
        weights = load_peft_weights(str(folder), device="cpu")
        result = set_peft_model_state_dict(wrapped, weights)
        missing = [key for key in result.missing_keys if "lora_" in key or "modules_to_save." in key]
        wrong = missing + list(result.unexpected_keys)
        problem = f"{len(wrong)} keys do not match, first {wrong[0]}" if wrong else None
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        problem = str(error)
    if problem:
        wrapped.unload()
        raise BadModel(f"The adapter in {folder} does not fit this model: {problem}")
    return wrapped


def _precision(folder: Path, dtype: Dtype) -> dict[str, Any]:
    gpu = torch.cuda.is_available()
    placed: dict[str, Any] = {"device_map": "auto"} if gpu else {}
    if dtype == "nf4":
        compute = torch.bfloat16 if not gpu or torch.cuda.is_bf16_supported() else torch.float16
        quantised = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute,
        )
        return {**placed, "quantization_config": quantised}
    named = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    if dtype != "auto":
        return {**placed, "dtype": named[dtype]}
    big = sum(file.stat().st_size for file in folder.glob("*.safetensors")) > _BIG
    if not gpu:
        return {"dtype": "auto" if big else torch.float32}
    saved = json.loads((folder / "config.json").read_text()).get("dtype")
    if saved == "bfloat16" and not torch.cuda.is_bf16_supported():
        return {**placed, "dtype": torch.float16}
    return {**placed, "dtype": "auto"}
