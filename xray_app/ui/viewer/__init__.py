"""The viewer: a scan with its boxes, and the table of items."""
