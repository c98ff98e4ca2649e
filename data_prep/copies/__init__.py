"""Copies of recordings, exact and near, and leaks of benchmarks into training.

`copies_among` compares recordings with each other, `check_leaks` compares training with benchmarks and `refuse`s.
"""
