"""Workloads, metrics and figures: ``python -m benchmarks`` prints a table and writes JSON."""
