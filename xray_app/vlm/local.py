"""A local vision-language model: transformers for the base, PEFT for the adapter."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftConfig, get_peft_model
from peft.utils import load_peft_weights, set_peft_model_state_dict
from PIL.Image import Image
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig, DynamicCache

from xray_app.errors import BadModel, is_out_of_memory
from xray_app.taxonomy import Taxonomy, prohibited_labels
from xray_app.vlm.answer_form import AnswerForm, answer_form
from xray_app.vlm.base import CUT_OFF, Answer, Draft
from xray_app.vlm.coordinates import coordinate_frame, family_of
from xray_app.vlm.grammar import Held, grammar_of
from xray_app.vlm.older_names import module_of, todays_names
from xray_app.vlm.pictures import ShownSize, limits_of_adapter, picture_limits, set_picture_limits
from xray_app.vlm.prompt import batch, encode
from xray_app.vlm.scoring import FirstEntries, row_of
from xray_app.vlm.speculative_decoding import CannotDraft, Ended, Expected, Limits, Said, drafted, plainly
from xray_app.vlm.weights import resolve_folder, weights_hash

logger = logging.getLogger(__name__)

Dtype = Literal["auto", "bf16", "fp16", "fp32", "nf4"]

MAX_NEW_TOKENS = 192
"""Of an answer in the report's form: the fullest bag takes about 150."""

BASE_FILE = "base.json"

# On a CPU, models larger than this keep the precision they were saved in: fp32 would not fit.
_BIG = 4 * 1024**3


class LocalVlm:
    """One base model in memory, answering with at most one adapter at a time.

    Guarded by a lock: generation and a change of adapter never overlap.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        name: str,
        weights_sha256: str,
        max_new_tokens: int,
        form: AnswerForm | None = None,
        threats: FirstEntries | None = None,
        drafted: bool = True,
    ):
        """
        Args:
            model: the base.
            processor: its own.
            name: to report.
            weights_sha256: from `weights_hash`.
            max_new_tokens: an answer longer than this is cut off and marked incomplete.
            form: what the base is told of the report and held to, since it was not trained on it; None where it was.
                With an adapter, which was, it is told nothing and free.
            threats: prohibited classes whose probability each answer gives; None gives none.
            drafted: drafts are made use of.
        """
        self.model = model.eval()
        self.processor = processor
        self.name = name
        self.weights_sha256 = weights_sha256
        self.max_new_tokens = max_new_tokens
        self.form = form
        self.threats = threats
        self.drafted = drafted
        self._in_passes = True
        self.lock = threading.RLock()
        self._family = family_of(str(getattr(model.config, "model_type", "")))
        self._base = self.model
        self._limits = picture_limits(processor)
        tokenizer = processor.tokenizer
        ends = self.model.generation_config.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
        self._ends.discard(None)
        self._grammar = grammar_of(tokenizer, self._ends, form.bounded_schema) if form is not None else None
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id

    @classmethod
    def load(
        cls,
        name: str,
        dtype: Dtype = "auto",
        *,
        label: str | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
        taxonomy: Taxonomy | None = None,
        tell: bool = True,
        drafted: bool = True,
    ) -> LocalVlm:
        """Loads a model by folder or Hub id, onto the GPU where there is one.

        Args:
            name: a folder or a Hub id such as `reducto/RolmOCR`.
            dtype: serving precision; "auto" is the saved one on a GPU and fp32 on a CPU, unless the
                model is too large for that.
            label: the name to report instead of `name`.
            max_new_tokens: an answer longer than this is cut off and marked incomplete.
            taxonomy: every answer gives the probability of its prohibited classes; None gives none.
            tell: the taxonomy's names are told to a model that was not trained on the report.
            drafted: drafts of answers are made use of; the answers are the same.

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
        form = threats = None
        if taxonomy is not None:
            form = answer_form(taxonomy, family_of(str(model.config.model_type)) is not None) if tell else None
            threats = FirstEntries.of(processor.tokenizer, prohibited_labels(taxonomy), taxonomy)
        return cls(model, processor, label or name, sha256, max_new_tokens, form, threats, drafted)

    @property
    def knows_form(self) -> bool:
        """Whether what answers now was trained on the report; it then gets the prompt of its training."""
        return self.form is None or self.model is not self._base

    @property
    def held(self) -> bool:
        """Whether what answers now is held to the form's JSON by a grammar."""
        return self._grammar is not None and not self.knows_form

    def asked(self, instruction: str, *, as_json: bool = True) -> str:
        """The words that go with the picture: the instruction, and for a model that does not know it, the form.

        Args:
            instruction: as a trained model is given it.
            as_json: a model that writes boxes, or is held to JSON, is told to answer in JSON.
        """
        if self.form is None or self.knows_form:
            return instruction
        return self.form.told(instruction, as_json=as_json and (self.form.boxes or self.held))

    def answer(
        self, images: Sequence[Image], instructions: Sequence[str], drafts: Sequence[Draft] | None = None
    ) -> list[Answer]:
        """Answers each (picture, instruction) pair, greedily and in one batch; see `Vlm.answer`.

        An answer held to a grammar is drafted by the grammar itself.
        """
        if not images:
            return []
        with self.lock, torch.inference_mode():
            # Within the lock: the picture size limits change with the adapter.
            asked = [self.asked(instruction) for instruction in instructions]
            frames = [self._frame(image) for image in images]
            encoded = encode(self.processor, images, asked)
            device = self.model.device
            inputs = {key: value.to(device) for key, value in batch(encoded, self._pad, side="left").items()}
            threats: list[dict[str, float] | None] = [None] * len(images)

            def ended(
                number: int, said: Said, cache: DynamicCache, row: int, places: torch.Tensor, start: torch.Tensor
            ) -> None:
                prompt = places[: len(encoded.ids[number]) + self._opening]
                threats[number] = self._threats(said, row_of(cache, row, prompt), start)

            answers = self._decode(inputs, encoded.ids, drafts, ended)
        return [self._answer(*one) for one in zip(answers, frames, threats, strict=True)]

    @property
    def _opening(self) -> int:
        return len(self.threats.opening) if self.threats else 0

    def _decode(
        self,
        inputs: dict[str, torch.Tensor],
        prompts: Sequence[Sequence[int]],
        drafts: Sequence[Draft] | None,
        ended: Ended,
    ) -> list[Said]:
        limits = Limits(self.max_new_tokens, frozenset(self._ends), self._pad, self._opening if self.threats else None)
        grammar = self._grammar if self.held else None
        held = [grammar.hold(prompt) for prompt in prompts] if grammar is not None else []
        if self._in_passes:
            expected: list[Expected] = [_nothing] * len(prompts)
            if self.drafted and held:
                expected = [partial(_forced, one) for one in held]
            elif self.drafted and drafts is not None:
                expected = [partial(self._expected, draft) for draft in drafts]
            try:
                return drafted(self.model, inputs, limits, held, expected, ended)
            except CannotDraft:
                self._in_passes = False
                logger.warning("%s: its answers cannot be drafted, and come a token at a time", self.name)
        return plainly(self.model, inputs, limits, held)

    def _expected(self, draft: Draft, said: list[int]) -> list[int]:
        """What an answer goes on with in tokens, where it is as drafted."""
        tokenizer = self.processor.tokenizer
        whole = draft(tokenizer.decode(said, skip_special_tokens=True))
        if whole is None:
            return []
        tokens = [*tokenizer(whole, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        return tokens[len(said) :] if tokens[: len(said)] == said else []

    def _threats(self, said: Said, own: DynamicCache | None, start: torch.Tensor) -> dict[str, float] | None:
        """`Answer.threats`, from keys and values of prompt and opening."""
        if self.threats is None or said.after_opening is None or own is None:
            return None
        if tuple(said.tokens[: self._opening]) != self.threats.opening:
            return None
        start = start + self._opening
        return self.threats.masses(self.threats.probabilities(self.model, own, said.after_opening, start))

    def _frame(self, image: Image) -> tuple[int, int] | None:
        size = ShownSize.of(self.processor)
        return coordinate_frame(self._family, size.shown(image.size) if size else image.size)

    def _answer(self, said: Said, frame: tuple[int, int] | None, threats: dict[str, float] | None) -> Answer:
        finished = said.tokens[-1] in self._ends
        ids = said.tokens[:-1] if finished else said.tokens
        decode = self.processor.tokenizer.decode
        spans, end = [], 0
        for place in range(len(ids)):
            start, end = end, len(decode(ids[: place + 1], skip_special_tokens=True))
            spans.append((start, end, said.probabilities[place][0]))
        leads = tuple(first - second for first, second in said.probabilities)
        problem = None if finished else CUT_OFF
        text = decode(ids, skip_special_tokens=True)
        return Answer(text, finished, tuple(spans), problem, frame, leads, threats, said.passes)

    def use_adapter(self, folder: Path | None) -> None:
        """Answers with the adapter in `folder` from now on; None is the base model.

        Pictures are then shown at the size the adapter was trained with.

        Raises:
            BadModel: the adapter was trained on another base, a key of it is missing or unexpected, or it
                does not load at all. The base model is in use then: a half-loaded adapter never answers.
        """
        with self.lock:
            if self.model is not self._base:
                self._base = self.model.unload()
                self.model = self._base
                set_picture_limits(self._base, self.processor, self._limits)
            if folder is None:
                return
            check_base(folder, self.name, self.weights_sha256)
            limits = limits_of_adapter(folder, self._limits)
            self.model = attach(self._base, folder).eval()
            set_picture_limits(self._base, self.processor, limits)

    def use_taxonomy(self, taxonomy: Taxonomy) -> None:
        """Is told the names of these classes from now on, where it was told any, and gives their probability, where it
        gave those of others."""
        with self.lock:
            if self.form is not None:
                self.form = answer_form(taxonomy, self.form.boxes)
            if self.threats is not None:
                self.threats = FirstEntries.of(self.processor.tokenizer, prohibited_labels(taxonomy), taxonomy)


def _forced(held: Held, _: list[int]) -> list[int]:
    return held.forced()


def _nothing(_: list[int]) -> list[int]:
    return []


def write_base(folder: Path, vlm: LocalVlm) -> None:
    """Notes beside an adapter which base model it belongs to."""
    facts = {"base": vlm.name, "base_sha256": vlm.weights_sha256}
    (folder / BASE_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def check_base(folder: Path, name: str, weights_sha256: str) -> None:
    """Refuses an adapter of another base model, even one of the same shape, on which it would load.

    An adapter trained here says its base's weights; of one trained elsewhere PEFT's note of the base's
    Hub id is compared, where both are Hub ids.

    Raises:
        BadModel: naming both bases.
    """
    try:
        if (folder / BASE_FILE).is_file():
            facts = json.loads((folder / BASE_FILE).read_text(encoding="utf-8"))
            base, foreign = facts["base"], facts["base_sha256"] != weights_sha256
        else:
            base = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
            hub_ids = all(one and one.count("/") == 1 and not Path(one).exists() for one in (base, name))
            foreign = hub_ids and base.casefold() != name.casefold()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadModel(f"The adapter in {folder} does not fit this model: {error}") from error
    if foreign:
        raise BadModel(
            f"The adapter in {folder} was trained on {base}, not on the {name} in use here. "
            "Set XRAY_VLM to its base, or train one on this base."
        )


def attach(base: Any, folder: Path, *, trainable: bool = False) -> Any:
    """Puts a PEFT adapter on a base model, refusing any key that does not match.

    PEFT itself only warns, and such an adapter answers exactly like the base. Keys with the names of older
    transformers are read by today's.

    Raises:
        BadModel: naming the keys that are missing or unexpected.
    """
    try:
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = not trainable
        names = todays_names(folder, base)
        if names is not None:  # the patterns of its own time may fit no module, or others
            config.target_modules = sorted({module_of(name) for name in names.values()})
        wrapped = get_peft_model(base, config)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadModel(f"The adapter in {folder} does not fit this model: {error}") from error
    try:
        weights = load_peft_weights(str(folder), device="cpu")
        if names is not None:
            weights = {names[key]: value for key, value in weights.items()}
        result = set_peft_model_state_dict(wrapped, weights)
        missing = [key for key in result.missing_keys if "lora_" in key or "modules_to_save." in key]
        wrong = missing + list(result.unexpected_keys)
        problem = f"{len(wrong)} keys do not match, first {wrong[0]}" if wrong else None
    except Exception as error:  # safetensors and PEFT raise many unrelated types, and the base must come out of each
        if is_out_of_memory(error):
            wrapped.unload()
            raise
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
            llm_int8_skip_modules=None if gpu else ["lm_head", *_not_for_nf4(folder)],
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


def _not_for_nf4(folder: Path) -> list[str]:
    """Linear layers bitsandbytes cannot hold in 4 bits on a CPU: it packs rows by 32 and blocks of 64 values.

    They are a few of some vision towers', RolmOCR's among them, and stay at 16 bits.
    """
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    return [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and (layer.in_features % 64 or layer.out_features % 32)
    ]
