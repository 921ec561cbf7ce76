"""The box detector."""
