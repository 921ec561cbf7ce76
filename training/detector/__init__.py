"""Trains the box detector."""
