"""Corrections as values: revisions, merging, drafts, agreement, usefulness. No SQL, no Gradio."""
