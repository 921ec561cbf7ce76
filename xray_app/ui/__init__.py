"""The desk in the browser: Gradio tabs, a module each."""
