"""The judged split of the corpus as prepared benchmarks: what is it (three ways), is it there, in what order, how many
times, what is said, and how would one describe it.

Groups are source packages, since recordings of one package resemble each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from eval import items as corpus_items
from eval.corpus import Clip, Scene
from eval.harness import items as harness
from eval.harness.items import CaptionWant, ChoiceWant, Item, LabelWant, TranscriptWant
from eval.harness.prepared import Prepared
from eval.kinds.base import LabelSet
from eval.kinds.speech_text import normalised
from eval.suites import asking
from eval.suites.drawing import rng_for
from eval.suites.studio import Order, Part, Studio
from eval.words import reference

NAME = "alm-corpus"
LABELS = "corpus"
OPEN_QUESTION = "What do you hear?"
CAPTION = "Describe this recording in one short sentence."
SAID = "Write down what is said, word by word."


def make(order: Order) -> list[Prepared]:
    """All of them, over one folder of recordings."""
    studio = Studio(NAME, order)
    tasks: dict[str, Callable[[Studio], tuple[list[Item], list[LabelSet]]]] = {
        "choice": _choice,
        "label-listed": lambda s: _labels(s, "listed"),
        "label-open": lambda s: _labels(s, "open"),
        "label-loglik": lambda s: _labels(s, "loglik"),
        "presence": _presence,
        "order": _order,
        "count": _count,
        "transcript": _transcripts,
        "caption": _captions,
    }
    done = []
    with order.progress("corpus", len(tasks)) as advance:
        for name, task in tasks.items():
            items, sets = task(studio)
            if items:
                done.append(studio.finish(items, name, sets))
            advance(1)
    return done


def _tags(studio: Studio, name: str) -> dict[str, str]:
    return {"group": studio.order.corpus.classes.group(name), "class": name}


def _clip(studio: Studio, clip: Clip, name: str) -> harness.Clip:
    return studio.original(clip, name, corpus_items.CLIP_SECONDS)


def _choice(studio: Studio) -> tuple[list[Item], list[LabelSet]]:
    """Which of four; every set of four options is asked with each of its sounds."""
    corpus, found = studio.order.corpus, []
    asked = corpus_items.choice_items(corpus, studio.order.seed)
    for one in asked[: max(4, studio.order.items // 4 * 4)]:
        clip = _clip(studio, corpus.by_id[one.id], one.kind)
        options = [o.text for o in one.options]
        tags = _tags(studio, one.kind)
        found.append(
            asking.choice(one.id, corpus_items.QUESTION_CHOICE, options, one.gold, [clip], one.source, tags)
        )
    return found, []


def _singles(studio: Studio) -> list[tuple[str, Clip]]:
    """Recordings of one class, classes in turn."""
    clips = studio.order.pool.clips
    turns = [(n, name, c) for name, own in clips.items() for n, c in enumerate(own)]
    return [(name, c) for _, name, c in sorted(turns, key=lambda t: t[0])][: studio.order.items]


def label_set(studio: Studio) -> LabelSet:
    """The classes as labels by their phrases; bare name and synonyms that no other class has are other wordings."""
    corpus = studio.order.corpus
    names = [n for n in corpus.testable() if n not in corpus_items.VAGUE]
    classes = [corpus.classes.by_name[n] for n in names]
    words = [w for c in classes for w in {c.name, *c.synonyms}]
    return LabelSet(
        LABELS,
        {c.phrase: tuple(dict.fromkeys(w for w in (c.name, *c.synonyms) if words.count(w) == 1)) for c in classes},
    )


def _labels(studio: Studio, mode: str) -> tuple[list[Item], list[LabelSet]]:
    """Which of all classes: with the list in the question, without it, or by likelihood."""
    labels = label_set(studio)
    question = OPEN_QUESTION
    if mode == "listed":
        question = f"{asking.with_options('Which of these is heard?', list(labels.labels))} Answer with one of them."
    items = []
    for name, clip in _singles(studio):
        want = LabelWant.model_validate(
            {"labels": (studio.order.pool.phrase(name),), "label_set": LABELS, "mode": mode}
        )
        place = _clip(studio, clip, name)
        items.append(asking.item(clip.id, question, want, [place], clip.package, _tags(studio, name)))
    return items, [labels]


def _presence(studio: Studio) -> tuple[list[Item], list[LabelSet]]:
    """Is it there; every sound is asked for as often where it is as where it is not."""
    corpus, found = studio.order.corpus, []
    asked = corpus_items.presence_items(corpus, studio.order.seed)
    for one in asked[: max(8, studio.order.items // 8 * 8)]:
        clip = _clip(studio, corpus.by_id[one.id[:-2]], one.kind)
        want = ChoiceWant(choices=asking.YES_NO, answer=one.gold)
        tags = {"group": corpus.classes.group(one.facts["asked"]), "class": one.facts["asked"]}
        found.append(asking.item(one.id, one.question.text, want, [clip], one.source, tags))
    return found, []


def _scene(studio: Studio, scene: Scene) -> harness.Clip:
    """A composed scene of the store, as it is."""
    from alm.audio import load_audio

    recording, clips = load_audio(scene.path), studio.order.corpus.by_id
    parts = [
        Part(clips[e.clip], e.classes[0], e.onset, e.offset, background=e.background)
        for e in scene.events
        if e.clip in clips
    ]
    return studio.write(scene.id, recording.samples, recording.rate, parts)


def _scenes(studio: Studio, asked: Iterable[corpus_items.Item]) -> list[tuple[corpus_items.Item, harness.Clip]]:
    scenes = {s.id: s for s in studio.order.corpus.scenes(studio.order.corpus.judged)}
    return [(one, _scene(studio, scenes[one.id])) for one in asked]


def _order(studio: Studio) -> tuple[list[Item], list[LabelSet]]:
    """Which of two sounds is first; the right one is listed first in every second question."""
    asked = corpus_items.order_items(studio.order.corpus, studio.order.seed)[: studio.order.items // 2 * 2]
    found = []
    for one, clip in _scenes(studio, asked):
        want = ChoiceWant(choices=tuple(one.facts["options"]), answer=one.gold)
        tags = {"sounds": str(one.facts["events"])}
        found.append(asking.item(one.id, one.question.text, want, [clip], one.source, tags))
    return found, []


def _count(studio: Studio) -> tuple[list[Item], list[LabelSet]]:
    """How many times, one to five."""
    asked = corpus_items.count_items(studio.order.corpus)[: studio.order.items]
    found = []
    for one, clip in _scenes(studio, asked):
        tags, text = {"times": one.kind}, one.question.text
        found.append(asking.number(one.id, text, one.gold + 1, 0.0, "", [clip], one.source, tags))
    return found, []


def _transcripts(studio: Studio) -> tuple[list[Item], list[LabelSet]]:
    """What is said, languages in turn."""
    clips = [c for c in studio.order.corpus.of(studio.order.corpus.judged) if has_words(c)]
    found = []
    for clip in in_turn(clips, lambda c: c.language, studio.order.seed)[: studio.order.items]:
        found.append(transcript_item(studio, clip, {"language": clip.language}))
    return found, []


def normaliser(clip: Clip) -> str:
    """How words of its language are compared."""
    return "whisper-en" if clip.language.startswith("en") else "whisper-basic"


def has_words(clip: Clip) -> bool:
    """Whether something is said that can be compared; some prompts are only a beep, in brackets."""
    return bool(normalised(reference(clip.transcript), normaliser(clip)))


def transcript_item(studio: Studio, clip: Clip, tags: dict[str, str]) -> Item:
    """What is said in a recording of the corpus."""
    want = TranscriptWant(
        reference=reference(clip.transcript),
        language=clip.language.replace("_", "-") or "und",
        normaliser=normaliser(clip),
    )
    return asking.item(clip.id, SAID, want, [studio.original(clip, "speech", 30.0)], clip.package, tags, tokens=128)


def in_turn(clips: Sequence[Clip], key: Callable[[Clip], str], seed: int) -> list[Clip]:
    """Shuffled, one of each key after the other, so that the first ones are balanced."""
    rng, by_key = rng_for("turns", seed), dict[str, list[Clip]]()
    for clip in rng.sample(list(clips), len(clips)):
        by_key.setdefault(key(clip), []).append(clip)
    turns = [(n, k, c) for k in sorted(by_key) for n, c in enumerate(by_key[k])]
    return [c for _, _, c in sorted(turns, key=lambda t: t[0])]


def _captions(studio: Studio) -> tuple[list[Item], list[LabelSet]]:
    """Descriptions that say more than the class's phrase: one reference each, with the phrase as a second."""
    found = []
    for name, clip in _described(studio)[: studio.order.items]:
        phrase = studio.order.pool.phrase(name)
        want = CaptionWant(references=(clip.description, phrase))
        place = _clip(studio, clip, name)
        found.append(asking.item(clip.id, CAPTION, want, [place], clip.package, _tags(studio, name), tokens=48))
    return found, []


def _described(studio: Studio) -> list[tuple[str, Clip]]:
    pool = studio.order.pool
    turns = [(n, name, c) for name, own in pool.clips.items() for n, c in enumerate(own)]
    ordered = [(name, c) for _, name, c in sorted(turns, key=lambda t: t[0])]
    return [(name, c) for name, c in ordered if c.description and c.description != pool.phrase(name)]
