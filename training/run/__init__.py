"""A training run: its pipeline, and its life as a detached process."""
