"""Simulated dual-energy baggage scans with exact boxes."""

from __future__ import annotations

from xray_app.simulate.dataset import write_dataset
from xray_app.simulate.scene import Simulated, simulate_scan

__all__ = ["Simulated", "simulate_scan", "write_dataset"]
