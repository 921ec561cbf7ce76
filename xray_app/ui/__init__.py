"""The Gradio tabs."""
