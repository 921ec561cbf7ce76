"""Decides whether a candidate may replace the active model: hold-out, examination, gate, registry."""
