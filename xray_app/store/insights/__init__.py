"""Sums over days: traffic, decisions, corrections, screeners, drift."""
