"""The picture with its boxes, and the table of items."""
