"""Readers of official downloads, by the name of their source."""
