"""The desk driven in Chromium."""
