"""Measurements that the documents quote: each module is a command, `python -m bench.NAME`."""
