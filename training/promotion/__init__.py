"""Hold-out, gate and registry: whether a candidate may replace the active model."""
