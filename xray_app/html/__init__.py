"""Values as escaped HTML and SVG; no Gradio."""
