"""The forecast of a training's memory, time and cost."""
