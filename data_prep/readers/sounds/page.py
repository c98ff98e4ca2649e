"""The page of these sources in the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from data_prep.readers.base import Source

_INTRO = """# Sets of sounds

Written by `python -m data_prep.readers.sounds --write docs/data-sounds.md` from the registry; a test holds it current.

A reader takes the unpacked official download and gives a `Sample` (`data_prep/samples.py`) for everything that its
lists tell, or `Lost` with file, line and reason: samples and losses add up to the rows of the lists. Nothing of these
sets is in this repository, and no reader opens a recording.

```python
from pathlib import Path
from data_prep.readers.base import ReadOptions, ReadReport
from data_prep.readers.sounds import SOUNDS

source = next(s for s in SOUNDS if s.name == "esc50")
report = ReadReport()
for one in source.read(Path("downloads/ESC-50-master"), ReadOptions()):
    report.count(one)
print(dict(report.samples), dict(report.lost))
```

`ReadOptions(splits=("train",))` reads one of the source's own splits, `audio_root` says where the recordings are when
not in their place, `path_map={"/old/place/": "/new/"}` replaces beginnings of paths that a list writes, and
`check_files=False` does not look for recordings. A list that is not there is `Lost` as `missing list`; one that was
asked for by name is an error.

What holds for all of them:

- `labels` are words: codes are looked up in the lists of names, and a code without a name is `unknown label`.
- `complete` says that what is not named is absent, within the set's own labels: events of AudioSet (strong), TUT and
  DCASE, FSD50K's evaluation part, soundscapes of BirdSet. A recording about which a row was lost is not complete.
- `group` is the same for pieces of one original in all sources, `youtube:ID` and `freesound:ID` above all, so that a
  clip of AudioCaps' test part is found in AudioSet's training part. Splits are those of each source.
- Where a source has folds and no splits, ours are: ESC-50 folds 1 to 3, 4, 5; UrbanSound8K 1 to 8, 9, 10; DCASE 2019
  splits 1 to 3 and 4 of the development set; DCASE 2020 folds 3 to 6, 2, 1; TUT scenes the first fold.
- WavCaps leaves out what any blacklist in `json_files/blacklist/` names; AudioSetCaps, which has clips that AudioSet
  and VGGSound test on, asks for their lists and makes those clips `test`.
- A source that moves (DCASE) has a direction only while it stays within 15 degrees; else `extras["paths"]` has its
  way as rows of seconds, azimuth, elevation and metres.
- `extras["above"]` (AudioSet, with `ontology.json`) names the kinds that the labels are kinds of: they are there
  although nobody says so.

The layouts are those that official pages, loaders and public code describe; none of the downloads was at hand when
the readers were written. They are tested on invented rows in these layouts and on 2,000 spoilt variants of each. Names
of files that are only guessed: the lists of violent scenes (`FILM_violence.txt`) of MediaEval. Not read: AudioSetCaps'
questions, AudioSet's framed negatives, FSD50K's votes, single events of TUT's rare sounds.
"""


def page(sources: Iterable[Source]) -> str:
    """Markdown: a table, then the layout of each."""
    known = list(sources)
    lines = [_INTRO, "| name | what it tells | size | licence |", "|---|---|---|---|"]
    lines += [f"| [{one.name}](#{one.name}) | {', '.join(one.tells)} | {one.size} | {one.licence} |" for one in known]
    for one in known:
        lines += ["", *_section(one)]
    return "\n".join(lines) + "\n"


def _section(one: Source) -> Iterator[str]:
    yield f"## {one.name}"
    yield ""
    use = "; the field evaluates on it" if one.benchmark else ""
    yield f"{one.title}. Splits: {', '.join(f'`{split}`' for split in one.splits)}{use}."
    yield ""
    yield f"- Where: {one.home}"
    yield f"- What to get: {one.how_to_get}"
    yield ""
    yield "```text"
    yield from one.layout.split("\n")
    yield "```"
