"""What is on the pictures of the fixture `data`, and a recipe that learns it quickly."""

from __future__ import annotations

from training.detector.finetune import DetectorRecipe

LABELS = ("gun", "laptop")
QUICK = DetectorRecipe(variant="n", sizes=(64,), epochs=2, batch=4)
