"""Recordings and labels -> checked instruction records: the corpus by name, the scenes, the records.

Run `python -m data_prep --help`. Only `data_prep.records` is meant for import by training code.
"""
