"""Held-out instruction rows as prepared benchmarks: each task asked as it was taught, graded by what the row knows."""
