"""Evaluation: each figure of the documentation comes from one command, `python -m eval NAME`."""
