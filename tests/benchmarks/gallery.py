"""How quick search and insights are over many analyses.

    python -m tests.benchmarks.gallery [--rows 100000] [--tiny]

Fills a database of its own in a temporary folder (or `--url`, an empty database) with analyses over 120 days, four
scanners and three adapters, with decisions, corrections and outcomes as a busy site has them, then asks for pages
by every filter and for pairs of them, and for the insights, each after a decision was saved, so that nothing is
answered from a page of before. The last line is one JSON object; times are milliseconds.
"""

from __future__ import annotations

SEED = 20_261_101
DAYS = 120
SCANNERS = ("north 1", "north 2", "south 1", "south 2")
ADAPTERS = (None, "a" * 32, "b" * 32)
ANALYSTS = ("ana", "ben", "chi", "dee", "eve")
CHUNK = 2000
