"""Sources and label rules, both plain CSV: what to fetch, under which licence, and what each file name means."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data_prep.corpus import KINDS, MANIFEST_DIR, SPLITS
from data_prep.errors import CorpusError

SOURCES_FILE = MANIFEST_DIR / "extra_sources.csv"
RULES_FILE = MANIFEST_DIR / "extra_rules.csv"
SOURCE_COLUMNS = ("source", "origin", "name", "version", "licence", "split", "credit", "note")
RULE_COLUMNS = ("source", "pattern", "classes", "labels", "description", "licence", "credit", "kind", "transcript")
GIT, DEBIAN = "git", "debian-extra"
ORIGINS = (GIT, DEBIAN)
SEXES = {"f": "female", "m": "male", "female": "female", "male": "male"}
OPEN_LICENCE = re.compile(
    r"(CC0|CC-BY(-SA)?(-[1234]\.[05])?|PD|L?GPL-[23]\+?|AGPL-3\+?|MIT|ODbL-1\.0|Apache-2\.0|Artistic(-[12]\.0)?|WTFPL|BSD-[23]|FAL-1\.[0-9])"
)
"""Licences that let the recordings be used, changed and shared by anybody for any purpose."""
FREESOUND = re.compile(r"freesound\.org/(?:people/[^/]+/sounds|s)/(\d+)|freesound (\d+)")


def freesound_numbers(credit: str) -> frozenset[str]:
    """Numbers of the Freesound recordings that a credit names."""
    return frozenset(first or second for first, second in FREESOUND.findall(credit))


@dataclass(frozen=True)
class Source:
    """One repository at one commit, or one package at one version: the unit of the train/test split."""

    source: str
    """Short unique name, used by the rules."""
    origin: str
    name: str
    """`owner/name` of a repository, or the name of a package."""
    version: str
    """Full commit hash, or package version."""
    licence: str
    """Licence of every file for which no rule names another."""
    split: str
    credit: str
    note: str = ""

    @property
    def package(self) -> str:
        """The name under which the manifest lists it; a repository's slash becomes '+'."""
        return self.name.replace("/", "+")


@dataclass(frozen=True)
class Rule:
    """What the files of a source whose whole path matches `pattern` are.

    The named groups `speaker` and `sex` of the pattern fill those fields of the clip; every named group may stand in
    braces in the description and the transcript.
    """

    source: str
    pattern: str
    classes: tuple[str, ...]
    """Empty: files that match are left out."""
    labels: tuple[str, ...]
    description: str
    licence: str
    credit: str
    kind: str
    transcript: str

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        """The pattern, ready to match."""
        return re.compile(self.pattern)


@dataclass(frozen=True)
class Labelled:
    """A file of a source with everything that its name tells."""

    path: str
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    description: str
    licence: str
    credit: str
    kind: str
    transcript: str = ""
    speaker: str = ""
    sex: str = ""


@dataclass(frozen=True)
class Catalog:
    """All sources with their rules in file order."""

    sources: tuple[Source, ...]
    rules: Mapping[str, Sequence[Rule]]

    def label(self, source: Source, path: str) -> Labelled | None:
        """What `path` is by the first rule that matches it; None when no rule does, or the rule leaves it out."""
        for rule in self.rules.get(source.source, ()):
            match = rule.compiled.fullmatch(path)
            if match is not None:
                return _labelled(source, rule, path, match) if rule.classes else None
        return None

    def by_package(self, package: str) -> Source:
        """The source of that package name; raises `CorpusError` when there is none."""
        for source in self.sources:
            if source.package == package:
                return source
        raise CorpusError(f"{package}: no such source in {SOURCES_FILE.name}; is the manifest newer than the sources?")


def _labelled(source: Source, rule: Rule, path: str, match: re.Match[str]) -> Labelled:
    groups = {name: (text or "").replace("_", " ") for name, text in match.groupdict().items()}
    sex = groups.get("sex", "").lower()
    return Labelled(
        path=path,
        classes=rule.classes,
        labels=rule.labels or rule.classes,
        description=rule.description.format_map(defaultdict(str, groups)),
        licence=rule.licence or source.licence,
        credit=rule.credit or source.credit,
        kind=rule.kind or "sfx",
        transcript=rule.transcript.format_map(defaultdict(str, groups)),
        speaker=match.groupdict().get("speaker") or "",
        sex=SEXES.get(sex, ""),
    )


def _rows(path: Path, columns: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [(f"{path}:{line}", row) for line, row in enumerate(csv.DictReader(stream), start=2)]
    for where, row in rows:
        missing = [name for name in columns if row.get(name) is None]
        if missing:
            raise CorpusError(f"{where}: no field {', '.join(missing)}; count the commas and quotes of the line")
    return rows


def _source(where: str, row: dict[str, str]) -> Source:
    source = Source(**{name: row[name] for name in SOURCE_COLUMNS})
    if source.origin not in ORIGINS or source.split not in SPLITS:
        raise CorpusError(
            f"{where}: origin '{source.origin}' must be one of {', '.join(ORIGINS)} and split '{source.split}' one of "
            + ", ".join(SPLITS)
        )
    if source.origin == GIT and not re.fullmatch(r"[0-9a-f]{40}", source.version):
        raise CorpusError(f"{where}: version '{source.version}' must be a commit hash of 40 hex digits")
    return source


def _rule(where: str, row: dict[str, str], known: Mapping[str, Source]) -> Rule:
    if row["source"] not in known:
        raise CorpusError(f"{where}: source '{row['source']}' is not in the table of sources")
    lists = {name: tuple(part for part in row[name].split("|") if part) for name in ("classes", "labels")}
    values = {name: row[name] for name in RULE_COLUMNS if name not in lists}
    rule = Rule(**values, **lists)  # type: ignore[arg-type]
    try:
        rule.compiled  # noqa: B018  (compiling is the check)
    except re.error as fault:
        raise CorpusError(f"{where}: pattern '{rule.pattern}' is no regular expression ({fault})") from fault
    licence = rule.licence or known[rule.source].licence
    if rule.classes and not OPEN_LICENCE.fullmatch(licence):
        raise CorpusError(f"{where}: licence '{licence}' is not among the open ones; leave the files out instead")
    if rule.kind and rule.kind not in KINDS:
        raise CorpusError(f"{where}: kind '{rule.kind}' must be one of {', '.join(KINDS)}")
    return rule


def load_catalog(sources: Path = SOURCES_FILE, rules: Path = RULES_FILE) -> Catalog:
    """Read both tables; raises `CorpusError` naming file and line for anything that does not hold."""
    listed = [_source(where, row) for where, row in _rows(sources, SOURCE_COLUMNS)]
    known = {source.source: source for source in listed}
    if len(known) != len(listed):
        raise CorpusError(f"{sources}: a source is listed twice")
    by_source: dict[str, list[Rule]] = defaultdict(list)
    for where, row in _rows(rules, RULE_COLUMNS):
        rule = _rule(where, row, known)
        by_source[rule.source].append(rule)
    return Catalog(tuple(listed), by_source)
