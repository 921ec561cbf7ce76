"""Simulated dual-energy baggage scans with exact boxes."""

from __future__ import annotations

from training.simulate.dataset import write_dataset
from training.simulate.scene import Simulated, simulate_scan

__all__ = ["Simulated", "simulate_scan", "write_dataset"]
