"""Benchmarks: ratios against the machine's own rate and against other software, in one run."""
