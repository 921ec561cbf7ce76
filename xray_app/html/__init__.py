"""Values as escaped HTML and SVG, without Gradio."""
