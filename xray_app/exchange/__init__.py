"""Other programs' data sets, read and written."""
