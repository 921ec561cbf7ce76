"""A training run: the pipeline it works through, and the supervisor of its process."""
