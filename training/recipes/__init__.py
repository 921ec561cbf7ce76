"""Recipes: one YAML file a base model, and their reader."""
