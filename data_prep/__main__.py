"""`python -m data_prep`."""

from __future__ import annotations

from data_prep.cli import app

if __name__ == "__main__":
    app()
