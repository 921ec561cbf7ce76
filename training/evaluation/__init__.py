"""Metrics of a model on labelled scans, with intervals, and the report about them."""
