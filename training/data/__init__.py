"""Samples to learn from: read, frozen, augmented and collated."""
