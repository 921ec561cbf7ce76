"""Measures models on labelled scans: metrics with intervals, calibration, comparison, the report page."""
