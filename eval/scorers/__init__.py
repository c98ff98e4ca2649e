"""Readers of structured answers and the figures they are scored by; pure, and bounded in time for any text."""
