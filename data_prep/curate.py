"""From a full catalogue of labelled recordings to the manifest of the clips worth having.

A catalogue is a gzip CSV that names every recording found in the packages, with the label, licence, copy group and
flags of each. Kept are: all effects, instruments and music, with a cap on takes of one event; a bounded, even sample
of speech per language and package, and every English sentence. Left out are recordings of doubtful origin and texts
that do not fit their audio.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path

from data_prep.corpus import Clip, clip_id
from data_prep.errors import CorpusError
from data_prep.ontology import SPEECH_CLASS, Ontology

DEV_PACKAGES = frozenset(
    "minetest-data gl-117-data seahorse-adventures netpanzer-data xmoto-data puredata-doc "
    "supercollider-common pokerth-data klettres-data bumprace-data".split()
)
"""Packages of the train side kept apart for choosing settings."""


FINER = (
    (r"snake|python hissing", "hiss", "snake hiss"),
    (r"^a mouse$", "other animal", "mouse squeak"),
    (r"chapel bell|tower clock|large bell tolling", "bell", "church bells"),
    (r"door being knocked|knock on", "wood knock", "door knock"),
)
"""Where the description says more than the label: pattern, label, better class."""
NO_CLASS = frozenset(("female voice", "male voice", "human voice"))


def english(description: str) -> str:
    """A description fit for a caption: without bracketed notes, with the right article."""
    plain = re.sub(r"\s*[\[(][^\])]*[\])]", "", description).strip()
    return re.sub(r"\b([Aa]) (?=[aeio]|u(?!kulele|s|n[ai]))", r"\1n ", plain)


def classes_of(row: dict[str, str], ontology: Ontology) -> tuple[str, ...]:
    """Classes of a catalogue row: by its fine labels where all of them are known, else by its coarse ones too."""
    labels = [label for label in row["labels"].split("|") if label not in NO_CLASS]
    if row["kind"] == "speech":
        return (SPEECH_CLASS,)
    for pattern, label, better in FINER:
        if re.search(pattern, row["description"]):
            labels = [better if item == label else item for item in labels]
    if all(map(ontology.class_of, labels)):
        return ontology.classes_of(labels)
    coarse = [
        label for label in row["classes"].split("|") if label not in NO_CLASS and not label.startswith("speech: ")
    ]
    return ontology.classes_of(labels + coarse)


FISH = {"small": "female", "big": "male"}
"""The two leading roles of Fish Fillets; the median pitch is 279/216 Hz (Czech/Dutch) against 141/146 Hz."""


@dataclass(frozen=True)
class Caps:
    """How many clips are kept."""

    per_class_and_package: int = 30
    per_language_and_package: int = 40
    english_words_per_package: int = 200
    per_sex_and_package: int = 120


Row = dict[str, str]


def read_catalogue(path: Path) -> list[Row]:
    """Rows of the catalogue; raises `CorpusError` when it cannot be read."""
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as fault:
        raise CorpusError(f"{path}: cannot read the catalogue ({fault})") from fault


def doubtful(row: Row) -> bool:
    """Whether the right to use the recording, or its nature, is in doubt."""
    if "globalmods/apoc" in row["path"] or "doubtful" in row["licence"]:
        return True
    if row["package"] == "minuet-data" and row["kind"] == "render":
        return True  # GeneralUser GS: its licence is not in the package's copyright file
    return row["package"] == "qabcs-data" and row["kind"] == "speech" and row["sample_rate"] == "24000"


def unusable(row: Row) -> bool:
    """Whether the label or text cannot be trusted, or nothing is to be heard."""
    flags = row["flag"].split()
    return "text-long-for-audio" in flags or "text-short-for-audio" in flags or float(row["rms_db"]) < -58


def evenly(rows: list[Row], count: int) -> list[Row]:
    """`count` rows spread over `rows`, the same ones every time."""
    if len(rows) <= count:
        return rows
    return [rows[index * len(rows) // count] for index in range(count)]


def _groups(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> list[list[Row]]:
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return list(groups.values())


def without_copies(rows: list[Row]) -> list[Row]:
    """One recording of each copy group."""
    seen: set[str] = set()
    kept = []
    for row in rows:
        if row["dup_group"] in seen:
            continue
        if row["dup_group"]:
            seen.add(row["dup_group"])
        kept.append(row)
    return kept


def choose_sounds(rows: list[Row], caps: Caps) -> list[Row]:
    """Effects, instruments, music and renders: capped per package and set of labels."""
    groups = _groups(without_copies(rows), lambda row: (row["package"], row["labels"]))
    return [row for group in groups for row in evenly(group, caps.per_class_and_package)]


def is_sentence(row: Row) -> bool:
    """Whether the transcript has at least two words."""
    return len(re.findall(r"[^\W\d_]+", row["transcript"])) >= 2


def _by_use(group: list[Row]) -> list[Row]:
    """Longer texts first: they tell a language and carry an answer; single letters last."""
    return sorted(group, key=lambda row: (not is_sentence(row), float(row["duration_s"]) < 0.8, row["path"]))


def choose_speech(rows: list[Row], caps: Caps) -> list[Row]:
    """English sentences, then bounded samples of English words and of every other language."""
    rows = without_copies(rows)
    english = [row for row in rows if row["language"].lower().startswith("en") or not row["language"]]
    kept = [row for row in english if is_sentence(row)]
    words = [row for row in english if not is_sentence(row)]
    for group in _groups(words, lambda row: row["package"]):
        kept.extend(evenly(group, caps.english_words_per_package))
    others = [row for row in rows if row["language"] and not row["language"].lower().startswith("en")]
    for group in _groups(others, lambda row: (row["package"], row["language"], sex_of(row))):
        limit = caps.per_sex_and_package if sex_of(group[0]) else caps.per_language_and_package
        sentences = [row for row in _by_use(group) if is_sentence(row)]
        kept.extend(evenly(sentences, limit) if len(sentences) >= limit else evenly(_by_use(group)[: 2 * limit], limit))
    return kept


def sex_of(row: Row) -> str:
    """`female`, `male` or '' by the classes of the row, or by the role in the one acted game."""
    if row["package"].startswith("fillets-ng-data") and row["speaker"] in FISH:
        return FISH[row["speaker"]]
    found = [sex for sex in ("female", "male") if f"{sex} voice" in row["classes"].split("|")]
    return found[0] if len(found) == 1 else ""


def split_of(row: Row) -> str:
    """The split of the row's package; dev packages come out of train."""
    if row["split"] == "test":
        return "test"
    return "dev" if row["package"] in DEV_PACKAGES or row["split"] == "dev" else "train"


READ_AGAIN = {"linphone-common": "GPL-3+"}
"""Licences that the catalogue has otherwise than the package: its copyright file has CC-BY-3.0 for one video only."""


def to_clip(row: Row, ontology: Ontology) -> Clip:
    """The manifest's form of a catalogue row."""
    origin = "npm" if row["package"].startswith("npm-") else "soundfont" if row["kind"] == "render" else "debian"
    return Clip(
        id=clip_id(row["package"], row["path"]),
        origin=origin,
        package=row["package"],
        version=row["version"].split(" ", 1)[0],
        path=row["path"],
        labels=tuple(row["labels"].split("|")),
        classes=classes_of(row, ontology),
        description=english(row["description"]) if row["kind"] != "speech" else "",
        seconds=float(row["duration_s"]),
        rate=int(row["sample_rate"]),
        licence=READ_AGAIN.get(row["package"], row["licence"]),
        split=split_of(row),
        kind=row["kind"],
        language=row["language"] or ("en" if row["kind"] == "speech" else ""),
        transcript=row["transcript"],
        speaker=row["speaker"],
        sex=sex_of(row),
        sha=row["sha"] if row["kind"] != "render" else "",  # another renderer makes other samples
        dup_group=row["dup_group"],
        flag=row["flag"],
    )


def curate(rows: list[Row], ontology: Ontology, caps: Caps | None = None) -> list[Clip]:
    """The manifest: near copies never lie on two sides of the split, a copy on a lesser side is dropped."""
    bounds = caps or Caps()
    usable = [row for row in rows if not doubtful(row) and not unusable(row)]
    usable.sort(key=lambda row: ({"test": 0, "train": 1, "dev": 2}[split_of(row)], row["package"], row["path"]))
    sounds = choose_sounds([row for row in usable if row["kind"] != "speech"], bounds)
    speech = choose_speech([row for row in usable if row["kind"] == "speech"], bounds)
    return [to_clip(row, ontology) for row in sounds + speech]
