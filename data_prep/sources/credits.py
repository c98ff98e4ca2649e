"""`ATTRIBUTION.md`: for each extra source its author, licence and exact place, and who made each recording."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from data_prep.sources.catalog import GIT, Catalog, Source
from data_prep.sources.extra_manifest import ExtraClip

HEAD = """# Extra recordings: authors and licences

None of these recordings is part of this project: they are fetched from where their authors published them.
The manifest `extra_clips.csv.gz` names the licence and the author of every single clip.
A licence without a version number (CC-BY) is one whose version the source does not state.
"PD" means dedicated to, or declared to be in, the public domain.
Long recordings were cut into pieces and all were mixed to one channel; nothing else was changed.
"""


def _place(source: Source) -> str:
    if source.origin == GIT:
        return f"repository `{source.name}`, commit `{source.version}`"
    return f"Debian package `{source.name}`, version `{source.version}`"


def _section(source: Source, clips: Sequence[ExtraClip]) -> str:
    licences = Counter(item.clip.licence for item in clips)
    terms = ", ".join(f"{name} ({count})" for name, count in licences.most_common())
    lines = [f"## {source.source}", "", f"- From: {_place(source)}", f"- What: {source.note or 'see the rules'}"]
    lines += [f"- By: {source.credit}", f"- Licences (clips): {terms}", f"- Clips: {len(clips)}, part: {source.split}"]
    files: dict[tuple[str, str], set[str]] = defaultdict(set)
    for item in clips:
        if item.credit != source.credit:
            files[item.credit, item.clip.licence].add(item.file.rsplit("/", 1)[-1])
    if files:
        lines += ["", "| file | by | licence |", "| --- | --- | --- |"]
        rows = sorted((sorted(names), who, terms) for (who, terms), names in files.items())
        lines += [
            f"| {', '.join(names[:6])}{' ...' if len(names) > 6 else ''} | {who} | {terms} |"
            for names, who, terms in rows
        ]
    return "\n".join(lines) + "\n"


def attribution(catalog: Catalog, clips: Sequence[ExtraClip]) -> str:
    """The whole document, sources in the order of the catalogue; sources without clips are left out."""
    by_package: dict[str, list[ExtraClip]] = defaultdict(list)
    for item in clips:
        by_package[item.clip.package].append(item)
    parts = [_section(source, by_package[source.package]) for source in catalog.sources if by_package[source.package]]
    return "\n".join([HEAD, *parts])
