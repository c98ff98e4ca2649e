"""Benchmarks that are generated: every recording is composed of free ones, so every right answer can be recomputed."""
