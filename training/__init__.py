"""Trains the models on corrections, measures them on held-out bags, and registers what may be promoted."""
