"""The vision-language model: local, or on another server."""
