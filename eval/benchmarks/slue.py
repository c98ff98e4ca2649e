"""SLUE phase 1 and 2: speech recognition, entities and when they are said, sentiment, dialogue acts, spoken answers,
summaries."""

from __future__ import annotations

from collections.abc import Iterator
from string import Template

from eval.benchmarks import prompts
from eval.benchmarks.download import Download, Row
from eval.benchmarks.labelling import Asking, Labelled, label_set, labelled_items
from eval.benchmarks.records import Benchmark, Piece, Reader, Unusable
from eval.benchmarks.speech import transcript_item
from eval.harness.items import Clip, Item, JudgeSpec, OpenWant, StructuredWant

_TAGS = {
    "DATE": "WHEN", "TIME": "WHEN", "CARDINAL": "QUANT", "ORDINAL": "QUANT", "QUANTITY": "QUANT", "MONEY": "QUANT",
    "PERCENT": "QUANT", "GPE": "PLACE", "LOC": "PLACE", "NORP": "NORP", "ORG": "ORG", "LAW": "LAW", "PERSON": "PERSON",
}
"""Official tags by the seven that are scored; others are dropped."""
TAGS = tuple(dict.fromkeys(_TAGS.values()))
SENTIMENTS = ("Negative", "Neutral", "Positive")
ACTS = (
    "acknowledge", "answer_agree", "answer_dis", "answer_general", "apology", "backchannel", "disfluency", "other",
    "question_check", "question_general", "question_repeat", "self", "statement_close", "statement_general",
    "statement_instruct", "statement_open", "statement_problem", "thanks",
)


def _rows(source: Download, corpus: str) -> Iterator[Row]:
    name = f"slue-{corpus}_test.tsv"
    return source.csv_rows(name, f"slue-{corpus}/{name}", delimiter="\t")


def _path(source: Download, corpus: str, *names: str) -> str:
    return source.recording(*(f"{folder}test/{n}" for folder in ("", f"slue-{corpus}/") for n in names))


def _voxceleb_clip(source: Download, row: Row) -> Clip:
    """The cut recording, or the stretch of the whole one."""
    name = f"{row.text('id')}.flac"
    cut, whole = _path(source, "voxceleb", name), source.recording(f"test_raw/{name}", f"slue-voxceleb/test_raw/{name}")
    if source.has(cut) or not source.has(whole):
        return Clip(path=cut)
    return Clip(path=whole, start=row.number("start_second"), end=row.number("end_second"))


def _asr(corpus: str) -> Reader:
    def read(source: Download, split: str) -> Iterator[Piece]:
        for row in _rows(source, corpus):
            name, text, speaker = row.text("id"), row.text("normalized_text", ""), row.text("speaker_id", "")
            path = _path(source, corpus, f"{name}.ogg", f"{name}.flac")
            made = transcript_item(name, path, text, "slue-asr", group="" if speaker == "None" else speaker)
            if corpus == "voxceleb" and isinstance(made, Item):
                made = made.model_copy(update={"audios": (_voxceleb_clip(source, row),)})
            yield made

    return read


def _entities(row: Row) -> list[tuple[str, str]]:
    """Tag and phrase, out of tag, first letter and length."""
    text, found = row.text("normalized_text"), []
    given = "[]" if row.text("normalized_ner", "None") == "None" else row.text("normalized_ner")
    for entry in Row(row.where, {"normalized_ner": given}).entries("normalized_ner"):
        if not (isinstance(entry, list | tuple) and len(entry) == 3 and all(isinstance(v, int) for v in entry[1:])):
            raise row.fault("normalized_ner", "must be a list of tag, first letter and length")
        tag, start, length = entry
        if str(tag) in _TAGS:
            found.append((_TAGS[str(tag)], text[start : start + length]))
    return found


def _ner(source: Download, split: str) -> Iterator[Piece]:
    for row in _rows(source, "voxpopuli"):
        name = row.text("id")
        if not row.has("normalized_text"):
            yield Unusable("no transcript")
            continue
        path = _path(source, "voxpopuli", f"{name}.ogg", f"{name}.flac")
        yield Item(
            id=name,
            messages=prompts.asked(prompts.ENTITIES, labels=", ".join(TAGS)),
            audios=(Clip(path=path),),
            want=StructuredWant(form="entities", answer=_entities(row)),
            official="slue-ner",
            group=path,
            max_tokens=512,
        )


_SENTIMENT = Asking("Which sentiment does the speaker express?", "slue-sentiment", modes=("listed",))
_ACT = Asking("Which acts of dialogue is this utterance?", "slue-dialogue-acts", multi=True, modes=("listed",))


def _sentiment(source: Download, split: str) -> Iterator[Piece]:
    labels = label_set("slue-sentiment", SENTIMENTS)
    yield labels
    for row in _rows(source, "voxceleb"):
        if (label := row.text("sentiment", "")) not in SENTIMENTS:
            yield Unusable("annotators found no single sentiment")
            continue
        clip = _voxceleb_clip(source, row)
        labelled = Labelled(clip.path, (label,), group=row.text("speaker_id", ""), id=row.text("id"))
        for item in labelled_items([labelled], labels, _SENTIMENT):
            yield item.model_copy(update={"audios": (clip,), "official": _SENTIMENT.official})


def _acts(source: Download, split: str) -> Iterator[Piece]:
    labels = label_set("slue-dialogue-acts", ACTS)
    yield labels
    for row in _rows(source, "hvb"):
        call, start = row.text("issue_id"), int(row.number("start_ms"))
        name = f"{call}_{start}_{start + int(row.number('duration_ms'))}"
        acts = tuple(a.replace("_", " ") for a in row.texts("dialog_acts"))
        if not acts or any(a not in labels.labels for a in acts):
            yield Unusable("no known act of dialogue")
            continue
        labelled = Labelled(_path(source, "hvb", f"{name}.wav"), acts, group=call, id=name)
        for item in labelled_items([labelled], labels, _ACT):
            yield item.model_copy(update={"official": _ACT.official})


_ENTITY = ("ne_label", "start_char_idx", "char_offset", "start_sec", "end_sec")
_SPAN = ("answer", "start_second", "end_second")


def _columns(row: Row, name: str, order: tuple[str, ...]) -> Iterator[Row]:
    """A list of objects, one object of lists, or a list of values in this order."""
    found = row.values.get(name)
    if isinstance(found, str) and found.lstrip().startswith("{"):
        lists = row.row(name)
        keys = list(lists.values)
        for number, values in enumerate(zip(*(lists.entries(k) for k in keys), strict=False), start=1):
            yield Row(f"{lists.where}, entry {number}", dict(zip(keys, values, strict=True)))
        return
    for number, one in enumerate(row.entries(name), start=1):
        where = f"{row.where}, entry {number}"
        if isinstance(one, list | tuple) and len(one) == len(order):
            yield Row(where, dict(zip(order, one, strict=True)))
        elif isinstance(one, dict):
            yield Row(where, one)
        else:
            raise row.fault(name, f"must be objects, or lists of {', '.join(order)}")


def _times(row: Row, unit: str) -> dict[str, float]:
    return {"start": row.number(f"start_{unit}"), "end": row.number(f"end_{unit}")}


def _nel(source: Download, split: str) -> Iterator[Piece]:
    for row in _rows(source, "vp_nel"):
        name, text = row.text("id"), row.text("text")
        answer = []
        for e in _columns(row, "ne_timestamps", _ENTITY):
            first, letters = int(e.number("start_char_idx")), int(e.number("char_offset"))
            answer.append({"text": text[first : first + letters], **_times(e, "sec")})
        path = _path(source, "vp_nel", f"{name}.ogg", f"{name}.flac", f"{name}.wav")
        yield Item(
            id=name,
            messages=prompts.asked(prompts.ENTITY_SPANS),
            audios=(Clip(path=path),),
            want=StructuredWant(form="spans", answer=answer, unit="s", options={"frame_seconds": 0.01}),
            official="slue-nel",
            group=path,
            max_tokens=512,
        )


def _sqa(source: Download, split: str) -> Iterator[Piece]:
    for row in _rows(source, "sqa5"):
        question, document = row.text("question_id"), row.text("document_id")
        answer = [_times(s, "second") for s in _columns(row, "answer_spans", _SPAN)]
        if not answer:
            yield Unusable("question without an answer in the document")
            continue
        first = _path(source, "sqa5", f"question/{question}.wav", f"question/{question}.flac")
        second = _path(source, "sqa5", f"document/{document}.wav", f"document/{document}.flac")
        yield Item(
            id=question,
            messages=prompts.asked(prompts.ANSWER_SPANS, 2),
            audios=(Clip(path=first), Clip(path=second)),
            want=StructuredWant(form="spans", answer=answer, unit="s", options={"frame_seconds": 0.01}),
            official="slue-sqa",
            group=second,
            max_tokens=256,
        )


_JUDGE = JudgeSpec(prompt="slue-summary", scale=(1.0, 5.0))


def _summary(source: Download, split: str) -> Iterator[Piece]:
    for row in _rows(source, "ted"):
        name = row.text("id")
        if not (row.has("title") and row.has("abstract")):
            yield Unusable("talk without a title or an abstract")
            continue
        path = _path(source, "ted", f"{name}.flac", f"{name}.wav", f"{name}.mp3")
        yield Item(
            id=name,
            messages=prompts.asked(prompts.SUMMARISE),
            audios=(Clip(path=path),),
            want=OpenWant(references=(f"{row.text('title')}\n{row.text('abstract')}",), judge=_JUDGE),
            official="slue-summary",
            group=row.text("speaker", name),
            max_tokens=512,
        )


def _benchmark(
    task: str, title: str, corpus: str, measures: str, kind: str, read: Reader, template: Template, items: int | None
) -> Benchmark:
    phase_one = corpus in ("voxpopuli", "voxceleb")
    official = "slue-asr" if task.startswith("asr") else f"slue-{task}"
    return Benchmark(
        name=f"slue-{task}",
        title=f"SLUE, {title}",
        version="phase 1, v0.2" if phase_one else "phase 2",
        licence={"voxpopuli": "CC0", "vp_nel": "CC0", "ted": "CC BY-NC-ND 4.0"}.get(corpus, "CC BY 4.0"),
        source=f"https://huggingface.co/datasets/asapp/slue{'' if phase_one else '-phase-2'}",
        how_to_get=f"the unpacked slue-{corpus} archive with test labels: slue-{corpus}_test.tsv and the folder test/",
        measures=measures,
        kinds=(kind,),
        official=(official,),
        splits={"test": items},
        prompts={"question": template},
        read=read,
        note="" if phase_one else "The lay-out is the one of the published archives as their loader names it.",
    )


BENCHMARKS = (
    _benchmark("asr-voxpopuli", "recognition, VoxPopuli", "voxpopuli", "Words of speeches in parliament", "transcript",
               _asr("voxpopuli"), prompts.TRANSCRIBE, 1842),
    _benchmark("asr-voxceleb", "recognition, VoxCeleb", "voxceleb", "Words of interviews", "transcript",
               _asr("voxceleb"), prompts.TRANSCRIBE, 3553),
    _benchmark("ner", "named entities", "voxpopuli", "Named entities that are said: tag and phrase", "structured",
               _ner, prompts.ENTITIES, 1842),
    _benchmark("sentiment", "sentiment", "voxceleb", "Negative, neutral or positive", "label",
               _sentiment, prompts.LISTED, 3553),
    _benchmark("dialogue-acts", "dialogue acts", "hvb", "18 acts of dialogue, several at once", "label",
               _acts, prompts.LISTED_MULTI, None),
    _benchmark("nel", "named entity localisation", "vp_nel", "When named entities are said", "structured",
               _nel, prompts.ENTITY_SPANS, None),
    _benchmark("sqa", "spoken question answering", "sqa5", "Where a spoken document answers a spoken question",
               "structured", _sqa, prompts.ANSWER_SPANS, None),
    _benchmark("summary", "summaries of talks", "ted", "Title and abstract of a talk", "open",
               _summary, prompts.SUMMARISE, None),
)
