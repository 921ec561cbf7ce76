"""A recipe says how one base model is fine-tuned: one YAML file each, in `training/recipes/`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xray_app.errors import BadRecipe
from xray_app.settings import ReportTo
from xray_app.types import Method

FOLDER = Path(__file__).parent

# The linear layers of a decoder block, of the language model alone.
LANGUAGE = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
# The same of the vision tower's blocks and of what hands its tokens over, by `model_type` of the configuration.
VISION = {
    "qwen2_vl": r".*visual\.(blocks\..*\.(qkv|proj|fc1|fc2)|merger\.mlp\.[02])",
    "qwen2_5_vl": r".*visual\.(blocks\..*\.(qkv|proj|gate_proj|up_proj|down_proj)|merger\.mlp\.[02])",
    "qwen3_vl": r".*visual\.(blocks\..*\.(qkv|proj|linear_fc1|linear_fc2)"
    r"|(merger|deepstack_merger_list\.\d+)\.linear_fc[12])",
    "llava_next": r".*(vision_tower\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)|multi_modal_projector\.linear_[12])",
    "internvl": r".*(vision_tower\..*\.(q_proj|k_proj|v_proj|projection_layer|fc1|fc2)"
    r"|multi_modal_projector\.linear_[12])",
}

FULL_AT_THE_DESK = (
    "Full fine-tuning makes a whole new base model, not an adapter the desk could promote. Use lora or qlora here, "
    "or `python -m training finetune --method full` and point XRAY_VLM at the folder it writes."
)

REPORTERS: dict[ReportTo, tuple[str, ...]] = {"tensorboard": ("tensorboard", "tensorboardX"), "mlflow": ("mlflow",)}
"""Packages of which transformers' own callback needs one."""


class Recipe(BaseModel):
    """How one base model is fine-tuned.

    Attributes:
        name: the recipe's name, from its file name.
        base: `bundled`, a Hub id or a folder.
        lora_rank, lora_alpha, lora_dropout: of the adapter.
        lora_scope: which parts of the model get one; `language+vision` where measured to help.
        use_rslora: scales the adapter by alpha / sqrt(rank) instead of alpha / rank (Kalajdzievski 2023), which
            keeps high ranks from learning ever less.
        use_dora: also learns the length of each weight column (DoRA, Liu et al. 2024): closer to full
            fine-tuning at low ranks, slower, and not every server (vLLM among them) loads it.
        learning_rate, warmup_fraction, weight_decay: of AdamW, for LoRA.
        full_learning_rate: of full fine-tuning; None is a tenth of LoRA's, which is the ratio of the best rates found
            over many models and data sets (Schulman et al. 2025, "LoRA Without Regret").
        schedule: how the learning rate falls to 0 after the warm-up.
        epochs: passes over corrections and replay.
        patience: early stopping, epochs without a better checkpoint (by the samples kept for stopping) after which
            the training ends; 0 trains to the last.
        batch, accumulation: samples a step are their product.
        replay: replayed simulated scans for each corrected scan or sample of a data set.
        replay_minimum: never fewer than this many, so that few corrections forget nothing.
        class_balance: a class on a smaller share of the samples than this has its scans shown more often, by the
            square root of how much smaller; 0 shows each once an epoch.
        turns: whether scans are mirrored and turned by quarters at random.
        contrast: 0 to 1, how far the penetration setting of a scan is varied (`training.data.augment.random_contrast`).
        palette: 0 to 1, how far the scanner's colours are varied (`training.data.augment.random_palette`).
        threat_projection: share of the scans without a prohibited item that have one projected into them, cut
            from the other samples; another one each epoch (`training.data.threat_projection`).
        max_pixels: pixels a picture is scaled down or cut into tiles to; None keeps the base's own limit.
        max_tokens: a longer sample is refused.
        gradient_checkpointing: slower, but much less memory.
        precision: of the arithmetic; `auto` is bf16 where the hardware has it, else fp16 on a GPU and fp32 on a CPU.
        report_to: whom transformers' own callbacks tell the figures besides: `tensorboard` writes files into
            TENSORBOARD_LOGGING_DIR, `mlflow` sends to MLFLOW_TRACKING_URI; both are read from the environment.
        seed: of first weights, order and everything random shown in training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    base: str
    lora_rank: int = Field(default=16, ge=1, le=512)
    lora_alpha: int = Field(default=32, ge=1)
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    lora_scope: Literal["language", "language+vision"] = "language"
    use_rslora: bool = False
    use_dora: bool = False
    learning_rate: float = Field(default=2e-4, gt=0, lt=1)
    full_learning_rate: float | None = Field(default=None, gt=0, lt=1)
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    schedule: Literal["cosine", "linear"] = "cosine"
    epochs: float = Field(default=3, gt=0, le=1000)
    patience: int = Field(default=0, ge=0)
    batch: int = Field(default=4, ge=1)
    accumulation: int = Field(default=4, ge=1)
    replay: float = Field(default=1.0, ge=0, le=100)
    replay_minimum: int = Field(default=0, ge=0)
    class_balance: float = Field(default=0.0, ge=0, le=1)
    turns: bool = False
    contrast: float = Field(default=0.0, ge=0, le=1)
    palette: float = Field(default=0.0, ge=0, le=1)
    threat_projection: float = Field(default=0.0, ge=0, le=1)
    max_pixels: int | None = Field(default=None, gt=0)
    max_tokens: int = Field(default=4096, gt=0)
    gradient_checkpointing: bool = False
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    report_to: ReportTo = "none"
    seed: int = 0

    @property
    def shows_scans_as_they_are(self) -> bool:
        """Whether a scan looks the same in every epoch."""
        return not (self.turns or self.contrast or self.palette or self.threat_projection)

    def rate(self, method: Method) -> float:
        """The highest learning rate of a training by this method."""
        if method == "full":
            return self.full_learning_rate or self.learning_rate / 10
        return self.learning_rate

    def replayed(self, corrected: int) -> int:
        """How many simulated scans are replayed beside this many corrected ones."""
        return max(round(self.replay * corrected), self.replay_minimum)

    def target_modules(self, model_type: str) -> str:
        """The path pattern of the modules LoRA wraps in a model of this architecture.

        Raises:
            BadRecipe: the scope takes in the vision tower of an architecture whose layers are not known.
        """
        if self.lora_scope == "language":
            return LANGUAGE
        if model_type not in VISION:
            raise BadRecipe(
                f"lora_scope {self.lora_scope} is known for {', '.join(VISION)}, not for {model_type}. "
                "Use lora_scope: language."
            )
        return f"({LANGUAGE}|{VISION[model_type]})"


def available() -> list[str]:
    """Names of the recipes that come with the desk."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def load_recipe(name: str) -> Recipe:
    """Loads a recipe by name or by path.

    Raises:
        BadRecipe: there is none of that name, or it holds an unknown key or a value out of range.
    """
    file = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if name not in available() and not (name.endswith(".yaml") and file.is_file()):
        raise BadRecipe(f"There is no recipe {name!r}. There are: {', '.join(available())}.")
    try:
        return Recipe(name=file.stem, **(yaml.safe_load(file.read_text()) or {}))
    except (ValidationError, TypeError, yaml.YAMLError) as error:
        raise BadRecipe(f"The recipe {file} is wrong: {error}") from error


def desk_recipe(name: str, report_to: ReportTo) -> Recipe:
    """The recipe of a run at the desk: its figures also go where XRAY_REPORT_TO says, unless that is "none".

    Raises:
        BadRecipe: as `load_recipe` and `check_reporter`.
    """
    recipe = load_recipe(name)
    if report_to != "none":
        recipe = recipe.model_copy(update={"report_to": report_to})
    check_reporter(recipe)
    return recipe


def check_reporter(recipe: Recipe) -> None:
    """Before a training begins, so that it does not end where its first figure is due.

    Raises:
        BadRecipe: what `report_to` needs is not installed.
    """
    needed = REPORTERS.get(recipe.report_to)
    if needed and not any(find_spec(package) for package in needed):
        raise BadRecipe(
            f"Reporting to {recipe.report_to} needs a package that is not installed: pip install {needed[0]}. "
            "Or set report_to in the recipe, or XRAY_REPORT_TO, to none."
        )


def recipe_of_base(vlm: str) -> str | None:
    """The name of the recipe whose base is this `XRAY_VLM`, or None."""
    return next((name for name in available() if load_recipe(name).base == vlm), None)
