"""Batch question answering: files of rows in, the same rows with answers out."""
