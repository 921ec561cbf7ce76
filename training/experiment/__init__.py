"""Trains and measures several methods side by side on one data set."""
