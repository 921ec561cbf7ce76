"""The record of a training: what it took, kept beside what it made, so that gain can be set against price."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xray_app.atomic_write import atomic_write

FILE = "training.json"


class TrainingRecord(BaseModel):
    """What one fine-tuning took.

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
        """Writes it into the adapter's, model's or detector's folder."""
        with atomic_write(folder / FILE) as part:
            part.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_training_record(trained: Path) -> TrainingRecord | None:
    """The record of an adapter's or a model's folder, or of a detector's file; None where there is none."""
    try:
        folder = trained if trained.is_dir() else trained.parent
        return TrainingRecord.model_validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
