"""Source -> labelled clips: apply the rules to file names, decode, cut long recordings, measure, cap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alm.errors import AlmError
from data_prep.corpus import Clip, clip_id
from data_prep.decode import decode
from data_prep.ontology import Ontology
from data_prep.sources.catalog import Catalog, Labelled, Source
from data_prep.sources.cut import CutConfig, cut, pieces
from data_prep.sources.extra_manifest import ExtraClip
from data_prep.store import Failure, fingerprint

CAP_PER_CLASS = 40
Samples = NDArray[np.float32]


class SourceFiles(Protocol):
    """What `extra_git.GitFiles` and `extra_debian.DebianFiles` have in common."""

    def paths(self) -> list[str]:
        """All file paths, sorted."""

    def read(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Path and content of those of `paths` that exist."""


@dataclass
class ScanResult:
    """Clips of one source, and what was left out."""

    clips: list[ExtraClip] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    quiet: list[str] = field(default_factory=list)


def spread(items: Sequence[Labelled], cap: int) -> list[Labelled]:
    """At most `cap` of `items`, evenly spread over their order."""
    if len(items) <= cap:
        return list(items)
    return [items[int((index + 0.5) * len(items) / cap)] for index in range(cap)]


def select(catalog: Catalog, source: Source, paths: Iterable[str], cap: int = CAP_PER_CLASS) -> list[Labelled]:
    """Files of the source that rules label, at most `cap` for each tuple of classes, spread over the sorted names."""
    groups: dict[tuple[str, ...], list[Labelled]] = defaultdict(list)
    for path in sorted(paths):
        item = catalog.label(source, path)
        if item is not None:
            groups[item.classes].append(item)
    return sorted((item for group in groups.values() for item in spread(group, cap)), key=lambda item: item.path)


def check_classes(catalog: Catalog, ontology: Ontology) -> list[str]:
    """Classes that rules name and the ontology does not have."""
    named = {name for rules in catalog.rules.values() for rule in rules for name in rule.classes}
    return sorted(named - set(ontology.by_name))


def _describe(item: Labelled, ontology: Ontology) -> str:
    return item.description or " and ".join(ontology.by_name[name].phrase for name in item.classes)


def make_clips(
    source: Source, item: Labelled, samples: Samples, rate: int, ontology: Ontology, config: CutConfig
) -> list[tuple[ExtraClip, Samples]]:
    """The clips of one decoded recording, with their samples."""
    made: list[tuple[ExtraClip, Samples]] = []
    for piece in pieces(samples, rate, config):
        part = samples if piece.whole else cut(samples, rate, piece.start, piece.end)
        path = item.path if piece.whole else f"{item.path}#{piece.start:g}-{piece.end:g}"
        clip = Clip(
            id=clip_id(source.package, path),
            origin=source.origin,
            package=source.package,
            version=source.version,
            path=path,
            labels=item.labels,
            classes=item.classes,
            description=_describe(item, ontology),
            seconds=round(len(part) / rate, 3),
            rate=rate,
            licence=item.licence,
            split=source.split,
            kind=item.kind,
            language="en" if item.transcript else "",
            transcript=item.transcript,
            speaker=f"{source.package}:{item.speaker}" if item.speaker else "",
            sex=item.sex,
            sha=fingerprint(part),
        )
        start, end = (0.0, 0.0) if piece.whole else (piece.start, piece.end)
        made.append((ExtraClip(clip, item.credit, start, end), part))
    return made


def cap_clips(clips: Sequence[ExtraClip], cap: int = CAP_PER_CLASS) -> set[str]:
    """Ids of at most `cap` clips for each tuple of classes: pieces are dealt recording by recording."""
    groups: dict[tuple[str, ...], dict[str, list[ExtraClip]]] = defaultdict(lambda: defaultdict(list))
    for item in clips:
        groups[item.clip.classes][item.file].append(item)
    kept: set[str] = set()
    for by_file in groups.values():
        rounds = range(max(len(parts) for parts in by_file.values()))
        dealt = [parts[turn] for turn in rounds for parts in by_file.values() if turn < len(parts)]
        kept.update(item.clip.id for item in dealt[:cap])
    return kept


def scan(
    catalog: Catalog,
    source: Source,
    files: SourceFiles,
    ontology: Ontology,
    keep: Callable[[ExtraClip, Samples], None] = lambda clip, samples: None,
    config: CutConfig | None = None,
) -> ScanResult:
    """All clips of one source. `keep` is called with each clip and its samples, before the cap on pieces."""
    config = config or CutConfig()
    result = ScanResult()
    chosen = {item.path: item for item in select(catalog, source, files.paths())}
    seen: set[str] = set()
    for path, data in files.read(sorted(chosen)):
        try:
            samples, rate = decode(data, path)
        except AlmError as fault:
            result.failures.append(Failure(path, str(fault)))
            continue
        made = make_clips(source, chosen[path], samples, rate, ontology, config)
        if not made:
            result.quiet.append(path)
        for clip, part in made:
            if clip.clip.sha not in seen:
                seen.add(clip.clip.sha)
                result.clips.append(clip)
                keep(clip, part)
    kept = cap_clips(result.clips)
    result.clips = [item for item in result.clips if item.clip.id in kept]
    return result
