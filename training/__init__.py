"""How the models learn from corrections, and how it is shown whether they did."""
