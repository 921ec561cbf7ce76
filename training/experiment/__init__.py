"""The experiment: fine-tuning methods side by side on one data set."""
