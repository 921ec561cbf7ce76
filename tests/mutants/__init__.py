"""Faults put into the code one at a time: a test that does not notice one is blind. `python -m tests.mutants`."""
