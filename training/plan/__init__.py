"""Forecasts memory, time and cost of a training."""
