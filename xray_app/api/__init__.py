"""The HTTP API: routes, errors, and the door that checks token and size before a body is read."""
