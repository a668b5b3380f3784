"""Benchmarks: ``make bench`` prints every number beside what it must beat, measured in the same run where possible."""
