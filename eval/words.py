"""Word error rate of the transcript path on the English telephone prompts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from alm.audio import Waveform, load_audio
from eval.corpus import Clip, Corpus
from eval.listening import Sound
from eval.metrics import Estimate, cluster_bootstrap
from eval.results import Figure, Result, Table
from eval.session import Session
from eval.text import NORMALISER, WordErrors, normalise, word_errors

PACKAGE = "asterisk-core-sounds-en"
SENTENCE_WORDS = 4
SYMBOLS = {"#": " pound ", "*": " star "}
ABOUT = (
    "English Asterisk prompts (one speaker, telephone quality, written transcripts). These recordings belong to the "
    "training split of the sounds, but the transcript path is Whisper tiny.en as published and is not trained here. "
    f"Word errors over all prompts together, after {NORMALISER}; in the references notes in brackets and "
    "dots of omission are dropped, and # and * are read as pound and star."
)


def reference(transcript: str) -> str:
    """What the prompt really says: the written text has notes in brackets, signs for keys, and dots where it goes on.

    The normaliser would keep one dot of three as a word that nobody says.

    >>> reference("slash [/]"), reference("press # to exit"), reference("The number is ...")
    ('slash', 'press pound to exit', 'The number is')
    """
    text = re.sub(r"\[[^\]]*\]|\([^)]*\)|\.{2,}|…", " ", transcript)
    for sign, word in SYMBOLS.items():
        text = text.replace(sign, word)
    return " ".join(text.split())


def prompts(corpus: Corpus, limit: int | None = None) -> list[Clip]:
    """The English prompts with words, by id; with a limit an even selection."""
    found = [c for c in corpus.clips if c.package.startswith(PACKAGE) and normalise(reference(c.transcript))]
    return found[:: max(1, len(found) // limit)][:limit] if limit else found


def plain_whisper(session: Session) -> Callable[[Waveform], str]:
    """faster-whisper on the same weights with its defaults but greedy: padded to 30 s, no gate, nothing left out."""
    from faster_whisper import WhisperModel

    from alm import weights
    from alm.presets import load_preset

    folder = weights.ensure(load_preset(session.options.preset).weights).transcriber
    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)

    def transcribe(recording: Waveform) -> str:
        segments, _ = model.transcribe(recording.resampled(16_000), language="en", beam_size=1, temperature=0.0)
        return " ".join(s.text.strip() for s in segments)

    return transcribe


def figure(key: str, label: str, references: Sequence[str], heard: Sequence[str]) -> Figure:
    """Corpus word error rate with an interval over prompts."""
    total = word_errors(references, heard)
    each = [word_errors([r], [h]) for r, h in zip(references, heard, strict=True)]
    low, high = cluster_bootstrap([e.rate for e in each], range(len(each)), [float(e.words) for e in each])
    note = f"{total.substitutions} substituted, {total.deletions} left out, {total.insertions} put in, of {total.words}"
    return Figure(key, label, Estimate(total.rate, low, high, len(each), low, high, 1), note=note)


def run(session: Session) -> Result:
    """See the module."""
    clips = prompts(session.corpus, session.options.limit)
    references = [reference(c.transcript) for c in clips]
    ours = _all(session, "transcripts, assistant's path", clips, lambda c: session.listener.transcript(Sound(c.path)))
    plain = plain_whisper(session)
    padded = _all(session, "transcripts, plain faster-whisper", clips, lambda c: plain(load_audio(c.path)))
    rows = {
        "assistant": ("transcript path of the assistant", ours),
        "padded": ("faster-whisper, padded to 30 s", padded),
    }
    result = Result("wer", "Words: transcript of speech", ABOUT, [])
    long = [i for i, r in enumerate(references) if len(r.split()) >= SENTENCE_WORDS]
    for key, (label, heard) in rows.items():
        result.figures.append(figure(key, f"{label}: word errors", references, heard))
        if long:
            picked = [references[i] for i in long], [heard[i] for i in long]
            result.figures.append(
                figure(f"{key}_sentences", f"{label}: word errors, prompts of {SENTENCE_WORDS} words or more", *picked)
            )
    result.tables = [worst(clips, references, ours)]
    result.notes = [
        f"{sum(not h for h in ours)} of {len(ours)} prompts have no transcript at all: the speech gate stayed closed "
        "or the reading was not believed."
    ]
    result.facts = {"counts": {"prompts": len(clips), "sentences": len(long)}, "normaliser": NORMALISER}
    result.items = [
        {"id": c.id, "reference": r, "assistant": o, "padded": p}
        for c, r, o, p in zip(clips, references, ours, padded, strict=True)
    ]
    return result


def _all(session: Session, what: str, clips: Sequence[Clip], transcribe: Callable[[Clip], str]) -> list[str]:
    found = []
    with session.progress(what, len(clips)) as advance:
        for clip in clips:
            found.append(transcribe(clip))
            advance(1)
    return found


def worst(clips: Sequence[Clip], references: Sequence[str], heard: Sequence[str], count: int = 15) -> Table:
    """The prompts with most word errors."""

    def errors(pair: tuple[str, str]) -> WordErrors:
        return word_errors([pair[0]], [pair[1]])

    ranked: list[tuple[int, Any]] = []
    for clip, pair in zip(clips, zip(references, heard, strict=True), strict=True):
        e = errors(pair)
        ranked.append((e.substitutions + e.deletions + e.insertions, (clip.id, *pair)))
    ranked.sort(key=lambda r: (-r[0], r[1][0]))
    return Table("Most errors", ("recording", "said", "heard"), [row for n, row in ranked[:count] if n], folded=True)
