"""Methods side by side on one data set."""
