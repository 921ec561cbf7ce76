"""Recipes: how each base model is fine-tuned, one YAML file each."""
