"""What a training took, kept beside what it made, so that a comparison can set gain against price."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FILE = "training.json"


class TrainingFacts(BaseModel):
    """Of one fine-tuning.

    Attributes:
        method: lora, qlora, full or detector.
        samples: scans trained on.
        epochs: passes over them.
        seconds: of wall time; of the last sitting only where `resumed`.
        resumed: an earlier sitting came before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    samples: int = Field(ge=0)
    epochs: float = Field(ge=0, allow_inf_nan=False)
    seconds: float = Field(ge=0, allow_inf_nan=False)
    resumed: bool = False

    def write(self, folder: Path) -> None:
        """Into the adapter's, model's or detector's folder."""
        (folder / FILE).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def training_facts(made: Path) -> TrainingFacts | None:
    """Of an adapter's or a model's folder, or of a detector's file; None where nothing is known."""
    try:
        return TrainingFacts.model_validate_json(((made if made.is_dir() else made.parent) / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
