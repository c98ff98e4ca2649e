"""All sources through `scan` and `curate`: how the manifest of extra clips is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from data_prep import store
from data_prep.corpus import StoredClip, read_index, write_index
from data_prep.errors import CorpusError
from data_prep.ontology import load_ontology
from data_prep.sources.catalog import Catalog
from data_prep.sources.curation import Curated, curate
from data_prep.sources.extra_manifest import ExtraClip
from data_prep.sources.gather import Places
from data_prep.sources.likeness import Pictured, picture
from data_prep.sources.scan import Samples, check_classes, scan

SPEECH = "speech"


def store_pictures(folder: Path, without: frozenset[str]) -> tuple[list[Pictured], dict[str, str]]:
    """Pictures of all clips of a store that are not speech, and their groups; packages `without` are left out."""
    pictures: list[Pictured] = []
    groups: dict[str, str] = {}
    for item in read_index(folder / "clips.jsonl"):
        if item.clip.kind == SPEECH or item.clip.package in without:
            continue
        samples, rate = store.read_flac(folder / item.audio)
        pictures.append(Pictured(item.clip.id, item.clip.split, item.seconds, picture(samples, rate)))
        if item.clip.dup_group:
            groups[item.clip.id] = item.clip.dup_group
    return pictures, groups


def finish(
    clips: list[ExtraClip],
    pictures: Mapping[str, Pictured],
    stored: Mapping[str, StoredClip],
    catalog: Catalog,
    against: Path,
) -> tuple[Curated, list[StoredClip]]:
    """Curate `clips` against the first corpus; also the rows of the store's index."""
    own = frozenset(source.package for source in catalog.sources)
    others, groups = store_pictures(against, own)
    curated = curate(clips, pictures, others, groups)
    rows = [
        StoredClip(item.clip, known.audio, known.seconds, known.rate, known.sha_match)
        for item in curated.clips
        for known in (stored[item.clip.id],)
    ]
    return curated, rows


def rescan(catalog: Catalog, places: Places, against: Path, tell: Callable[[str], None]) -> Curated:
    """Scan every source into the store of `places`; a source that is not to be had is told and left out."""
    ontology = load_ontology()
    unknown = check_classes(catalog, ontology)
    if unknown:
        raise CorpusError(f"rules name classes that the ontology lacks: {', '.join(unknown)}")
    clips: list[ExtraClip] = []
    pictures: dict[str, Pictured] = {}
    stored: dict[str, StoredClip] = {}

    def keep(item: ExtraClip, samples: Samples) -> None:
        clip = item.clip
        stored[clip.id] = store.put(places.target, clip, samples, clip.rate)
        pictures[clip.id] = Pictured(clip.id, clip.split, clip.seconds, picture(samples, clip.rate))

    for source in catalog.sources:
        try:
            found = scan(catalog, source, places.files(source), ontology, keep)
        except CorpusError as fault:
            tell(f"left out {source.source}: {fault}")
            continue
        clips.extend(found.clips)
        left_out = f"{len(found.failures)} undecodable, {len(found.quiet)} too quiet"
        tell(f"{source.source}: {len(found.clips)} clips, {left_out}")
    curated, rows = finish(clips, pictures, stored, catalog, against)
    write_index(sorted(rows, key=lambda row: row.clip.id), places.target / "clips.jsonl")
    return curated
