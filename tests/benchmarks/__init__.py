"""Benchmarks and long tests, run by hand."""
