"""Questions about what is said, answered with the transcript, without it, and with the true words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alm.errors import RecordError
from alm.evidence import evidence_text
from eval.answering import Prompt, Question
from eval.corpus import Corpus
from eval.listening import Sound
from eval.metrics import mcnemar, share
from eval.results import Figure, Result, Table
from eval.session import Session
from eval.text import accepted, normalise, word_errors
from eval.words import reference

FILE = Path(__file__).parent / "data" / "speech_qa.jsonl"
FIELDS = {"id", "kind", "clips", "question", "answers"}
MOST_WORDS = 12
"""An answer this short cannot be right by repeating a whole prompt."""
ABOUT = (
    "Written questions about English prompts and about messages put together from several prompts: who is called, "
    "which number, which key. An answer is right when it holds one of the accepted answers as whole words and none of "
    "the rejected ones. Single prompts are from the training split of the sounds (this speaker has no other); messages "
    "of several prompts occur nowhere else."
)
CONDITIONS = {
    "evidence": "recording and evidence (the assistant as it ships)",
    "heard": "recording, without evidence",
    "alone": "neither recording nor transcript (same language model)",
    "reference": "recording and the true words as transcript",
}


@dataclass(frozen=True)
class Pair:
    """One written question."""

    id: str
    kind: str
    clips: tuple[str, ...]
    question: str
    answers: tuple[str, ...]
    rejects: tuple[str, ...] = ()


def read_pairs(path: Path = FILE) -> list[Pair]:
    """The written questions.

    Raises:
        RecordError: naming line and field.
    """
    pairs = []
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        row = json.loads(text)
        if missing := FIELDS - set(row):
            raise RecordError(f"{path.name}:{line}: no field {', '.join(sorted(missing))}")
        lists = {k: tuple(row[k]) for k in ("clips", "answers", "rejects") if k in row}
        pairs.append(Pair(**{**row, **lists}))
    return pairs


def sound(pair: Pair, corpus: Corpus) -> Sound:
    """The recording of a pair: one clip, or several after each other."""
    missing = [c for c in pair.clips if c not in corpus.by_id]
    if missing:
        raise RecordError(
            f"{FILE.name}: {pair.id} needs {', '.join(missing)}, which the corpus lacks; "
            "fetch it with `python -m data_prep fetch`"
        )
    paths = [corpus.by_id[c].path for c in pair.clips]
    return Sound(paths[0], more=tuple(paths[1:]))


def words_of(pair: Pair, corpus: Corpus) -> str:
    """What is really said."""
    return " ".join(reference(corpus.by_id[c].transcript) for c in pair.clips)


def run(session: Session) -> Result:
    """See the module."""
    pairs = read_pairs()
    pairs = pairs[:: max(1, len(pairs) // session.options.limit)] if session.options.limit else pairs
    questions = [Question(p.question, (sound(p, session.corpus),)) for p in pairs]
    answers = {c: _answers(session, pairs, questions, c) for c in CONDITIONS}
    clusters = ["+".join(p.clips) for p in pairs]
    rights = {
        c: [accepted(a, p.answers, p.rejects) for a, p in zip(own, pairs, strict=True)] for c, own in answers.items()
    }
    result = Result("speech_qa", "Questions about what is said", ABOUT, [])
    for condition, label in CONDITIONS.items():
        result.figures.append(Figure(condition, label, share(rights[condition], clusters)))
    for condition in ("evidence", "reference"):
        short = [r and len(a.split()) <= MOST_WORDS for r, a in zip(rights[condition], answers[condition], strict=True)]
        label = f"{CONDITIONS[condition]}: right in at most {MOST_WORDS} words"
        result.figures.append(Figure(f"{condition}_short", label, share(short, clusters)))
    result.tables = [by_kind(pairs, rights), examples(pairs, answers["evidence"], rights["evidence"])]
    transcripts = [session.listener.transcript(q.sounds[0]) for q in questions]
    truth = [words_of(p, session.corpus) for p in pairs]
    result.notes = [
        f"With against without transcript: exact McNemar p = {mcnemar(rights['evidence'], rights['alone']):.2g}.",
        f"Word errors of the transcripts of these recordings: {100 * word_errors(truth, transcripts).rate:.1f} %.",
        "By source means by recording: several questions may be about one.",
        f"The accepted answer stands in the transcript for {_found(pairs, transcripts)} of {len(pairs)} questions.",
    ]
    result.facts = {"counts": {"questions": len(pairs), "recordings": len(set(clusters))}}
    result.items = [
        {
            "id": p.id, "kind": p.kind, "question": p.question, "accepted": list(p.answers), "transcript": t,
            "answers": {c: a[n] for c, a in answers.items()}, "right": {c: r[n] for c, r in rights.items()},
        }
        for n, (p, t) in enumerate(zip(pairs, transcripts, strict=True))
    ]  # fmt: skip
    return result


def _found(pairs: Sequence[Pair], transcripts: Sequence[str]) -> int:
    return sum(accepted(t, p.answers) for p, t in zip(pairs, transcripts, strict=True))


def _answers(session: Session, pairs: Sequence[Pair], questions: Sequence[Question], condition: str) -> list[str]:
    asked = [replace(q, sounds=()) for q in questions] if condition == "alone" else list(questions)
    with session.progress(f"listening, {condition}", len(asked)) as advance:
        session.answerer.listen(asked, advance)
    prompts = [_prompt(session, p, q, condition) for p, q in zip(pairs, asked, strict=True)]
    with session.progress(f"answers, {condition}", len(prompts)) as advance:
        return session.answerer.generate(prompts, 48, advance)


def _prompt(session: Session, pair: Pair, question: Question, condition: str) -> Prompt:
    if condition != "reference":
        return session.answerer.prompt(question, evidence=condition == "evidence")
    heard = session.answerer.heard[question.sounds[0]]
    text: Any = evidence_text(heard.sounds, words_of(pair, session.corpus), session.assistant.model.config.tag_phrases)
    return session.answerer.prompt(question, evidence=True, given=text)


def by_kind(pairs: Sequence[Pair], rights: dict[str, list[bool]]) -> Table:
    """Accuracy by kind of question."""
    rows = []
    for kind in sorted({p.kind for p in pairs}):
        own = [n for n, p in enumerate(pairs) if p.kind == kind]
        rows.append((kind, len(own), *(sum(r[n] for n in own) / len(own) for r in rights.values())))
    return Table("By kind", ("kind", "questions", *rights), rows)


def examples(pairs: Sequence[Pair], answers: Sequence[str], right: Sequence[bool], count: int = 16) -> Table:
    """Every n-th answer."""
    step = max(1, len(pairs) // count)
    rows = [
        (p.question, answers[n], "right" if right[n] else f"wrong: {normalise(p.answers[0])}")
        for n, p in enumerate(pairs)
    ][::step]
    return Table("Examples (not selected)", ("question", "answer", ""), rows, folded=True)
