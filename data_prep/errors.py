"""Errors of data preparation; both are `AlmError`, so the command line maps them to exit code 2."""

from __future__ import annotations

from alm.errors import AlmError


class CorpusError(AlmError):
    """A package, manifest, tool or store is missing, damaged, or beyond a limit."""


class ArchiveError(CorpusError):
    """A container (deb, tar, zip, game archive) is malformed or larger than its limits allow."""
