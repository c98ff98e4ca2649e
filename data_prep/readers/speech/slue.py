"""SLUE phase 1 and 2: speech with words, entities, sentiment, dialogue acts, questions and summaries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from data_prep.readers.base import Lost, Source
from data_prep.readers.download import Download, Found, plain, reading
from data_prep.readers.rows import Row, shown
from data_prep.samples import Asked, Event, Sample, Voice

PHASE_ONE = {"fine-tune": "train", "dev": "dev", "test": "test"}
VERIFIED = {**PHASE_ONE, "verified-test": "test"}
TALKS = {"train": "train", "dev": "dev", "test": "test"}
ENTITY_TAGS = {
    "DATE": "when", "TIME": "when", "CARDINAL": "quantity", "ORDINAL": "quantity", "QUANTITY": "quantity",
    "MONEY": "quantity", "PERCENT": "quantity", "GPE": "place", "LOC": "place", "NORP": "group of people",
    "ORG": "organisation", "LAW": "law", "PERSON": "person",
}  # fmt: skip
"""The official tags that are scored, as words; others stay as they are written."""
SENTIMENTS = ("Negative", "Neutral", "Positive")
Make = Callable[[Download, str, str, Row], Sample]
"""Of the download, own split, our split and row."""


def _unquoted(row: Row | Lost) -> Row | Lost:
    """Cells of these tables hold stray quotation marks; only those around a whole cell are marks of the format."""
    if isinstance(row, Lost):
        return row
    return Row(row.where, {name: _cell(value) for name, value in row.values.items()})


def _cell(text: str) -> str:
    return text[1:-1].replace('""', '"') if len(text) > 1 and text[0] == text[-1] == '"' else text


def _reader(corpus: str, splits: dict[str, str], need: tuple[str, ...], make: Make) -> Callable[[Download], Found]:
    stem = f"slue-{corpus}"
    tables = (f"{stem}_{{}}.tsv", f"{stem}/{stem}_{{}}.tsv", f"{stem}_{{0}}/{stem}_{{0}}.tsv")

    def read(source: Download) -> Found:
        for own, split, path in source.present(splits, *tables):
            below = source.name(path.parent)
            folder = "" if path.parent == source.root else f"{below}/"
            found = source.table(path, delimiter="\t", quoted=False, need=need)
            yield from source.each(map(_unquoted, found), partial(make, source, f"{folder}{own}", split))

    return read


def _speaker(row: Row) -> str:
    found = row.text("speaker_id", "")
    return "" if found == "None" else found


def _part(row: Row, text: str, first: int, letters: int) -> str:
    """Some letters of a text. Raises `RowError`."""
    if not 0 <= first < first + letters <= len(text):
        raise row.fault("normalized_ner", f"leads out of a text of {len(text)} letters")
    return text[first : first + letters]


def _entities(row: Row, text: str) -> list[dict[str, str]]:
    """Tag, first letter and length of each, out of the table."""
    found = []
    for entry in row.entries("normalized_ner"):
        if not isinstance(entry, list | tuple) or len(entry) != 3 or not all(type(n) is int for n in entry[1:]):
            raise row.fault("normalized_ner", f"must hold tag, first letter and length, not {shown(entry)}")
        found.append({"tag": ENTITY_TAGS.get(str(entry[0]), str(entry[0])), "text": _part(row, text, *entry[1:])})
    return found


def _voxpopuli(source: Download, folder: str, split: str, row: Row) -> Sample:
    name, text = row.text("id"), row.text("normalized_text")
    speaker = _speaker(row)
    return source.sample(
        name,
        source.recording(f"{folder}/{name}.ogg", f"{folder}/{name}.flac"),
        split,
        group=f"speaker {speaker}" if speaker else name,
        transcript=text,
        language="en",
        voice=Voice(speaker),
        extras={"entities": _entities(row, text), "raw_text": row.text("raw_text", "")},
    )


def _voxceleb(source: Download, folder: str, split: str, row: Row) -> Sample:
    """The cut recording where there is one, else the stretch of the whole one."""
    name, start, end = row.text("id"), row.number("start_second"), row.number("end_second")
    whole = source.find(f"{folder}_raw/{name}.flac") and not source.find(f"{folder}/{name}.flac")
    sentiment = row.text("sentiment", "")
    return source.sample(
        name,
        source.recording(f"{folder}_raw/{name}.flac" if whole else f"{folder}/{name}.flac"),
        split,
        group=f"speaker {_speaker(row) or name}",
        start=start if whole else None,
        seconds=round(end - start, 6),
        transcript=row.text("normalized_text"),
        language="en",
        voice=Voice(_speaker(row)),
        extras={"sentiment": sentiment.lower()} if sentiment in SENTIMENTS else {},
    )


def _calls(source: Download, folder: str, split: str, row: Row) -> Sample:
    call, start = row.text("issue_id"), row.integer("start_ms")
    name = f"{call}_{start}_{start + row.integer('duration_ms')}"
    acts = [plain(act) for act in row.texts("dialog_acts")]
    return source.sample(
        name,
        source.recording(f"{folder}/{name}.wav"),
        split,
        group=f"call {call}",
        seconds=row.integer("duration_ms") / 1000,
        transcript=row.text("text", ""),
        language="en",
        voice=Voice(_speaker(row)),
        extras={"dialogue_acts": acts, "role": row.text("role", ""), "intent": row.text("intent", "")},
    )


def _times(row: Row, names: tuple[str, ...], given: Any) -> Row:
    """An entry of a list, which stands there as a list of values or as an object."""
    if isinstance(given, list | tuple) and len(given) == len(names):
        given = dict(zip(names, given, strict=True))
    if not isinstance(given, dict):
        raise row.fault(names[0], f"must be {', '.join(names)}, not {shown(given)}")
    return Row(row.where, given)


def _named(source: Download, folder: str, split: str, row: Row) -> Sample:
    """Speech in parliament with when entities are named."""
    name, text = row.text("id"), row.text("text")
    names = ("ne_label", "start_char_idx", "char_offset", "start_sec", "end_sec")
    found = [_times(row, names, given) for given in row.entries("ne_timestamps")]
    events = [
        Event(
            "speech",
            one.number("start_sec"),
            one.number("end_sec"),
            text=_part(row, text, one.integer("start_char_idx"), one.integer("char_offset")),
        )
        for one in found
    ]
    tags = [ENTITY_TAGS.get(tag, tag) for one in found for tag in (one.text("ne_label"),)]
    return source.sample(
        name,
        source.recording(*(f"{folder}/{name}{ending}" for ending in (".ogg", ".flac", ".wav"))),
        split,
        group=f"speaker {_speaker(row) or name}",
        transcript=text,
        language="en",
        events=tuple(events),
        voice=Voice(_speaker(row)),
        extras={"entities": [{"tag": t, "text": e.text} for t, e in zip(tags, events, strict=True)]},
    )


def _spans(row: Row) -> Iterator[tuple[str, float, float]]:
    for given in row.entries("answer_spans"):
        one = _times(row, ("answer", "start_second", "end_second"), given)
        yield one.text("answer"), one.number("start_second"), one.number("end_second")


def _answered(source: Download, folder: str, split: str, row: Row) -> Sample:
    """The sample is the spoken document; the spoken question is named in the extras."""
    name, document, spans = row.text("question_id"), row.text("document_id"), list(_spans(row))
    question = row.text("raw_question_text", "") or row.text("normalized_question_text")
    said = [text for text, _, _ in spans]
    asked = [Asked(question, said[0], accept=tuple(said[1:]), task="spoken question")] if said else []
    return source.sample(
        f"{folder.rpartition('/')[2]}/{name}",
        source.recording(f"{folder}/document/{document}.wav", f"{folder}/document/{document}.flac"),
        split,
        group=f"document {document}",
        questions=tuple(asked),
        transcript=row.text("normalized_document_text", row.text("raw_document_text", "")),
        language="en",
        events=tuple(Event("speech", start, end, text=text) for text, start, end in spans),
        extras={
            "question_audio": source.recording(f"{folder}/question/{name}.wav", f"{folder}/question/{name}.flac"),
            "question": question,
        },
    )


def _talk(source: Download, folder: str, split: str, row: Row) -> Sample:
    name, title = row.text("id"), row.text("title", "")
    return source.sample(
        name,
        source.recording(*(f"{folder}/{name}{ending}" for ending in (".flac", ".wav", ".mp3"))),
        split,
        group=f"speaker {row.text('speaker', name)}",
        transcript=row.text("transcript", ""),
        language="en",
        voice=Voice(row.text("speaker", "")),
        extras={"title": title, "summary": row.text("abstract", "")},
    )


_HEARD = ("transcript", "language", "voice", "group")


def _source(
    corpus: str, title: str, licence: str, size: str, tells: tuple[str, ...], splits: dict[str, str],
    need: tuple[str, ...], make: Make, audio: str,
) -> Source:  # fmt: skip
    name, phase = f"slue-{corpus.replace('_', '-')}", "" if corpus in ("voxpopuli", "voxceleb") else "-phase-2"
    below = f"slue-{corpus}_SPLIT/" if corpus == "ted" else ""
    return Source(
        name=name,
        title=f"SLUE, {title}",
        licence=licence,
        home=f"https://huggingface.co/datasets/asapp/slue{phase}",
        how_to_get=f"the unpacked archive slue-{corpus} with test labels",
        size=size,
        tells=tells,
        layout=f"{below}slue-{corpus}_SPLIT.tsv (also below slue-{corpus}/)\n{below}SPLIT/{audio}",
        read=reading(name, licence, _reader(corpus, splits, need, make)),
        splits=tuple(splits),
        benchmark=True,
    )


SLUE: tuple[Source, ...] = (
    _source("voxpopuli", "VoxPopuli: words and entities", "CC0-1.0", "5,000, 1,753 and 1,842 utterances (25 hours)",
            (*_HEARD, "extras"), PHASE_ONE, ("id", "normalized_text"), _voxpopuli, "ID.ogg"),
    _source("voxceleb", "VoxCeleb: words and sentiment", "CC BY 4.0", "5,777, 1,454 and 3,553 utterances (24 hours)",
            (*_HEARD, "start", "seconds", "extras"), PHASE_ONE, ("id", "normalized_text", "start_second", "end_second"),
            _voxceleb, "ID.flac (or, uncut, SPLIT_raw/ID.flac)"),
    _source("hvb", "HarperValleyBank: acts of dialogue", "CC BY 4.0", "11,344, 1,690 and 6,121 utterances",
            (*_HEARD, "seconds", "extras"), PHASE_ONE, ("issue_id", "start_ms", "duration_ms"), _calls,
            "ISSUE_START_END.wav"),
    _source("sqa5", "spoken questions about spoken documents", "CC BY-SA 4.0",
            "46,186, 1,939 and 2,382 questions, and 408 verified ones",
            ("questions", "events", "transcript", "language", "group", "extras"), VERIFIED,
            ("question_id", "document_id"), _answered, "document/ID.wav\nSPLIT/question/ID.wav"),
    _source("vp_nel", "VoxPopuli: when entities are named", "CC0-1.0", "1,750 and 1,838 utterances",
            (*_HEARD, "events", "extras"), {"dev": "dev", "test": "test"}, ("id", "text", "ne_timestamps"), _named,
            "ID.ogg"),
    _source("ted", "talks with title and summary", "CC BY-NC-ND 4.0", "4,233 talks (829 hours)",
            (*_HEARD, "extras"), TALKS, ("id",), _talk, "ID.flac"),
)  # fmt: skip
