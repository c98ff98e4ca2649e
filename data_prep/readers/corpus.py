"""Reader of the project's own audio store: its clips, composed scenes and synthetic speech."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from alm.errors import AlmError
from data_prep import compose, corpus, turns
from data_prep.heard import MEANING_ONLY, Heard, from_clip, from_scene, from_utterance
from data_prep.ontology import SPEECH_CLASS, Ontology, load_ontology
from data_prep.phrases import capital
from data_prep.readers.base import Lost, ReadOptions, Source, inside
from data_prep.samples import Asked, Event, Music, Sample, Voice
from data_prep.scenes import UNCLEAR, Scene
from data_prep.speech import Utterance, read_utterances, speech_list

NAME = "corpus"
LABEL_SET = "alm"
NOISE_CLASS = "static noise"
"""What plain noise may fairly be called."""
UNTRUSTED_FLAGS = ("late-start", "text-long", "text-short")
"""Flags of clips whose words are not all in the recording."""
BROKEN_TEXT = "?\N{REPLACEMENT CHARACTER}"
COUNTED_SCENE = "repetition"
NO_NOTE = frozenset(
    "cowbell|cymbal|electric guitar|glockenspiel|orchestra hit|organ|synthesizer|timpani|tom drum|wood block|xylophone"
    .split("|")
)
"""Instruments whose rendered note is not what is heard: their pitch as measured is often other than the key's."""


@cache
def _ontology() -> Ontology:
    return load_ontology()


def read(root: Path, options: ReadOptions) -> Iterator[Sample | Lost]:
    """Samples of a store, its clips first.

    Raises:
        CorpusError: the folder is no store, or a list in it is broken.
    """
    for split, audio, name, make in _listed(root):
        if not options.splits or split in options.splits:
            yield _checked(root, options, audio, name, make)


def _listed(root: Path) -> Iterator[tuple[str, str, str, Callable[[str], Sample]]]:
    """Split, path in the store, name, and what makes the sample of its path."""
    for item in corpus.read_index(root / "clips.jsonl"):
        yield item.clip.split, item.audio, item.clip.id, partial(clip_sample, item)
    for split in corpus.SPLITS:
        listed = compose.scene_list(root, split)
        for scene in compose.read_scenes(listed) if listed.is_file() else ():
            yield split, scene.audio, scene.id, partial(scene_sample, scene)
        for spoken in read_utterances(speech_list(root, split)):
            yield split, spoken.audio, spoken.id, partial(speech_sample, spoken)


def _checked(root: Path, options: ReadOptions, audio: str, name: str, make: Callable[[str], Sample]) -> Sample | Lost:
    """The sample, or what is wrong with it."""
    try:
        path = inside(root, audio, options)
        if options.check_files and not path.is_file():
            return Lost("missing file", name, f"{path}: no such file; run `python -m data_prep fetch` again")
        return make(str(path.absolute()))
    except (AlmError, ValueError, TypeError, AttributeError) as fault:
        return Lost("bad row", str(name)[:120], str(fault)[:200])


def _labels(classes: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Classes that can be asked for, and those whose name says too little but that rule out others."""
    known = [name for name in classes if name in _ontology().by_name]
    return tuple(n for n in known if n not in UNCLEAR), tuple(n for n in known if n in UNCLEAR)


def _facts(heard: Heard, maybe: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"packages": list(heard.sources), "kind": heard.kind, **more}
    return found | ({"maybe": list(maybe)} if maybe else {}) | ({"synthetic": True} if heard.synthetic else {})


def clip_sample(item: corpus.StoredClip, path: str) -> Sample:
    """A published recording; its one event has no times, for nobody noted them."""
    clip, heard = item.clip, from_clip(item, _ontology())
    labels, maybe = _labels(clip.classes)
    spoken = SPEECH_CLASS in clip.classes
    words = clip.transcript if heard.speech is not None and clip.package not in MEANING_ONLY else ""
    trusted = clip.flag not in UNTRUSTED_FLAGS and not any(mark in words.rstrip("?") for mark in BROKEN_TEXT)
    return Sample(
        id=clip.id,
        audio=path,
        source=NAME,
        split=clip.split,
        licence=clip.licence,
        group=clip.dup_group or f"{clip.package}/{clip.path.partition('#')[0]}",
        seconds=item.seconds,
        labels=labels,
        label_set=LABEL_SET,
        complete=bool(labels),
        captions=(f"{capital(heard.description)}.",) if heard.description and labels else (),
        questions=_questions(heard),
        transcript=words if trusted else "",
        language=clip.language.replace("_", "-") if spoken else "",
        voice=Voice(_speaker(clip) if spoken else "", clip.sex if spoken else ""),
        music=_music(clip, labels),
        extras=_facts(heard, maybe),
    )


def _speaker(clip: corpus.Clip) -> str:
    """Who speaks, where that is a person: Asterisk's voices by their name, whatever the language, and the two fish.

    Other roles of the game may share an actor.
    """
    named = re.fullmatch(r"[a-z]{2}_[A-Z]{2}_[fm]_(\w+)", clip.speaker)
    if named:
        return named[1]
    alone = clip.speaker == clip.package or (clip.package.startswith("fillets") and clip.speaker in ("big", "small"))
    return f"{clip.package}/{clip.speaker}" if clip.speaker and alone else ""


def _questions(heard: Heard) -> tuple[Asked, ...]:
    facts = heard.speech.facts if heard.speech is not None else ()
    return tuple(Asked(fact.question, fact.answer, accept=(fact.short,), task="about_speech") for fact in facts)


def _music(clip: corpus.Clip, labels: tuple[str, ...]) -> Music:
    """Instruments that are classes, and the note of a rendered one that has a pitch."""
    ontology = _ontology()
    instruments = tuple(name for name in labels if ontology.by_name[name].group == "instrument")
    _, _, note = clip.path.rpartition(",note=")
    pitched = clip.kind == "render" and note.isdigit() and len(instruments) == 1 and instruments[0] not in NO_NOTE
    return Music(instruments=instruments, pitch_midi=int(note) if pitched else None)


def scene_sample(scene: Scene, path: str) -> Sample:
    """A composed scene: every event with its times, and nothing else in it."""
    heard = from_scene(scene)
    pairs = [_labels(event.classes) for event in heard.events]
    named = [(event, labels[0]) for event, (labels, _) in zip(heard.events, pairs, strict=True) if labels]
    also = tuple(name for labels, maybe in pairs for name in (*labels[1:], *maybe))
    empty = heard.kind if heard.kind in ("silence", "noise") else ""
    more: dict[str, Any] = {"nothing": empty} if empty else {}
    more |= {"made_of": sorted({event.clip for event in heard.events})} if heard.events else {}
    more |= {"countable": False} if heard.kind != COUNTED_SCENE else {}
    maybe = also + ((NOISE_CLASS,) if empty == "noise" else ())
    text = "" if empty else turns.describe(heard)
    one = len(heard.events) == 1 and heard.kind == "variant"
    return Sample(
        id=heard.id,
        audio=path,
        source=NAME,
        split=scene.split,
        licence=" AND ".join(dict.fromkeys(heard.licences)),
        group=heard.id,
        seconds=heard.seconds,
        labels=tuple(dict.fromkeys(label for _, label in named)),
        label_set=LABEL_SET,
        events=() if one else tuple(Event(n, e.onset, e.offset, background=e.background) for e, n in named),
        complete=len(named) == len(heard.events) and bool(named or empty),
        captions=(f"{capital(text)}.",) if text else (),
        extras=_facts(heard, maybe, **more),
    )


def speech_sample(spoken: Utterance, path: str) -> Sample:
    """A synthetic English sentence with its facts; its voice is nobody's, for the same one comes at many pitches."""
    heard = from_utterance(spoken)
    return Sample(
        id=spoken.id,
        audio=path,
        source=NAME,
        split=spoken.split,
        licence=spoken.licence,
        group=spoken.id,
        seconds=spoken.seconds,
        labels=(SPEECH_CLASS,),
        label_set=LABEL_SET,
        complete=True,
        questions=_questions(heard),
        transcript=spoken.text,
        language="en",
        voice=Voice(sex=spoken.sex),
        extras=_facts(heard),
    )


CORPUS = Source(
    name=NAME,
    title="The project's own store",
    licence="per recording",
    home="data_prep/README.md",
    how_to_get="python -m data_prep fetch, speak and scenes",
    size="about 10,700 clips, 6,900 scenes and 3,300 sentences",
    tells=(
        "labels", "events", "complete", "captions", "questions", "transcript", "language", "voice", "music", "seconds",
    ),
    layout="clips.jsonl\naudio/XX/CLIP.flac\nscenes/SPLIT.jsonl\nspeech/SPLIT.jsonl",
    read=read,
)  # fmt: skip



def samples(root: Path, *splits: str) -> list[Sample]:
    """The samples of some splits of a store, without what is lost."""
    return [one for one in read(root, ReadOptions(splits=splits)) if isinstance(one, Sample)]
