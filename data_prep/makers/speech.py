"""Questions about voices and words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from data_prep.makers.base import Making, Task, Turn, choose
from data_prep.makers.measures import (
    LOUDNESS_BANDS_DB,
    LOUDNESS_WORDS,
    PITCH_BANDS_HZ,
    PITCH_WORDS,
    SPEED_BANDS_WPM,
    SPEED_WORDS,
    band,
    loudness_of,
    pitch_of,
    speed_of,
)
from data_prep.makers.timing import MAX_LISTED, offset_of, onset_of
from data_prep.makers.wording import distinct, plain, seconds_text, span_text
from data_prep.ontology import LANGUAGES
from data_prep.samples import Event, Sample
from data_prep.speech_texts import number_words

MORE_LANGUAGES = {
    "af": "Afrikaans", "bn": "Bengali", "cy": "Welsh", "eo": "Esperanto", "et": "Estonian", "eu": "Basque",
    "fa": "Persian", "fil": "Filipino", "gu": "Gujarati", "hi": "Hindi", "hr": "Croatian", "hy": "Armenian",
    "id": "Indonesian", "is": "Icelandic", "ka": "Georgian", "kab": "Kabyle", "kk": "Kazakh", "kn": "Kannada",
    "la": "Latin", "lb": "Luxembourgish", "lg": "Luganda", "lv": "Latvian", "mk": "Macedonian", "mn": "Mongolian",
    "mr": "Marathi", "ms": "Malay", "mt": "Maltese", "my": "Burmese", "ne": "Nepali", "pa": "Punjabi",
    "rw": "Kinyarwanda", "sk": "Slovak", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai",
    "tl": "Tagalog", "tr": "Turkish", "tt": "Tatar", "ug": "Uyghur", "ur": "Urdu", "uz": "Uzbek",
    "vi": "Vietnamese", "yue": "Cantonese",
}  # fmt: skip
SCORE_RANGES: dict[str, object] = {
    "mosei": {"sentiment": (-3, 3), **dict.fromkeys("happiness sadness anger surprise disgust fear".split(), (0, 3))},
    "iemocap": (1, 5),
}
"""Scales of the scores of known sources, lowest and highest."""
SEXES = {"female": "a woman", "f": "a woman", "woman": "a woman", "male": "a man", "m": "a man", "man": "a man"}
MIN_VOICE_SECONDS = 0.5
MIN_WORD_LETTERS = 4
MAX_TRANSCRIPT_LETTERS = 3000
ADULT_YEARS = 16
_WORDS = re.compile(rf"[^\W\d_]{{{MIN_WORD_LETTERS},}}")
_GAPS = re.compile(r"[\[\](){}<>|_*]|\.\.\.")


def language_of(code: str) -> str:
    """English name of a BCP 47 code, or ''."""
    first = re.split(r"[-_]", code.strip())[0].lower()
    return LANGUAGES.get(first, MORE_LANGUAGES.get(first, ""))


def words_said(sample: Sample) -> str:
    """The transcript when it is fit to be asked for: no gaps or remarks in it, and not endless."""
    text = plain(sample.transcript)
    return "" if _GAPS.search(text) or len(text) > MAX_TRANSCRIPT_LETTERS else text


def _long_enough(sample: Sample) -> bool:
    return sample.seconds is None or sample.seconds >= MIN_VOICE_SECONDS


def _wanted(making: Making, sample: Sample) -> bool:
    """Whether the plan takes words of this language."""
    return not making.plan.languages or sample.language.split("-")[0].lower() in making.plan.languages


def transcribe(making: Making, sample: Sample) -> Turn | None:
    """The spoken words."""
    text = words_said(sample) if _wanted(making, sample) else ""
    return Turn(making.ask("transcribe"), making.say("transcribe", x=text), {"answer": text}) if text else None


def translate(making: Making, sample: Sample) -> Turn | None:
    """The words in another language."""
    known = {name: plain(text) for code, text in sample.translations.items() if (name := language_of(code)) and text}
    if not known:
        return None
    name = making.one(sorted(known))
    reply = making.say("translate", y=known[name])
    return Turn(making.ask("translate", x=name), reply, {"answer": known[name], "into": name})


def _vocabulary(text: str) -> list[str]:
    """Words of some length, each once, in lower case."""
    return distinct(word.lower() for word in _WORDS.findall(text))


def mentioned(making: Making, sample: Sample) -> Turn | None:
    """Whether a word is said; half of the words are out of another transcript of the same language."""
    mine = _vocabulary(words_said(sample)) if _wanted(making, sample) else []
    pool = making.survey.kept(("language", sample.source), sample.language) or making.survey.whole()
    said = sample.transcript.lower()
    others = sorted({word for one in pool for word in _vocabulary(words_said(one)) if word[:4] not in said})
    if len(mine) < 2 or not others:
        return None
    there = making.coin()
    word = making.one(mine if there else others)
    reply = making.say("mentioned", "answers" if there else "refusals", x=word)
    return Turn(making.ask("mentioned", x=word), reply, {"answer": "yes" if there else "no", "word": word})


def language(making: Making, sample: Sample) -> Turn | None:
    """The spoken language."""
    name = language_of(sample.language)
    sung = bool(sample.music.genre or sample.music.instruments) and not sample.transcript
    if not name or sung or not _long_enough(sample):
        return None
    return Turn(making.ask("language"), making.say("language", x=name), {"answer": name})


def _who(sample: Sample) -> str:
    young = sample.voice.age is not None and sample.voice.age < ADULT_YEARS
    return "" if young or not _long_enough(sample) else SEXES.get(sample.voice.sex.strip().lower(), "")


def sex(making: Making, sample: Sample) -> Turn | None:
    """Whether a man or a woman speaks; children are not asked about."""
    who = _who(sample)
    return Turn(making.ask("sex"), making.say("sex", x=who), {"answer": who}) if who else None


def age(making: Making, sample: Sample) -> Turn | None:
    """The speaker's age in years."""
    if sample.voice.age is None or sample.voice.age_group or not 3 <= sample.voice.age <= 110:
        return None
    years = round(sample.voice.age)
    return Turn(making.ask("age"), making.say("age", x=str(years)), {"answer": years})


def age_group(making: Making, sample: Sample) -> Turn | None:
    """The speaker's age group, in the source's words."""
    name = plain(sample.voice.age_group)
    return Turn(making.ask("age_group"), making.say("age_group", x=name), {"answer": name}) if name else None


def accent(making: Making, sample: Sample) -> Turn | None:
    """The speaker's accent, in the source's words."""
    name = plain(sample.voice.accent)
    return Turn(making.ask("accent"), making.say("accent", x=name), {"answer": name}) if name else None


def _feeling(sample: Sample) -> str:
    return plain(sample.voice.emotion).lower()


def emotion(making: Making, sample: Sample) -> Turn | None:
    """The speaker's emotion."""
    name = _feeling(sample)
    return Turn(making.ask("emotion"), making.say("emotion", x=name), {"answer": name}) if name else None


def emotion_choice(making: Making, sample: Sample) -> Turn | None:
    """The speaker's emotion, out of those of the source."""
    name = _feeling(sample)
    known = distinct(plain(other).lower() for other in making.survey.counts(("emotion", sample.source)))
    others = [other for other in known if other != name]
    if not name or len(others) < 2:
        return None
    return choose(making, "emotion_choice", name, making.some(others, min(3, len(others))))


def sex_emotion(making: Making, sample: Sample) -> Turn | None:
    """Both in one answer."""
    who, name = _who(sample), _feeling(sample)
    if not who or not name:
        return None
    return Turn(making.ask("sex_emotion"), making.say("sex_emotion", x=who, y=name), {"answer": [who, name]})


def emotion_score(making: Making, sample: Sample) -> Turn | None:
    """One of the source's scores, on its own scale: that of a known source, or the extras' `score_range`."""
    bounds = sample.extras.get("score_range", SCORE_RANGES.get(sample.source))
    scores = {name: value for name, value in sample.voice.emotion_scores.items() if isinstance(value, int | float)}
    if not scores:
        return None
    name = making.one(sorted(scores))
    given = bounds.get(name) if isinstance(bounds, Mapping) else bounds
    if not isinstance(given, list | tuple) or len(given) != 2 or not all(isinstance(v, int | float) for v in given):
        return None
    value = round(float(scores[name]), 2)
    words = {"x": plain(name.replace("_", " ")), "t": f"{given[0]:g}", "u": f"{given[1]:g}", "y": f"{value:g}"}
    return Turn(making.ask("emotion_score", **words), making.say("emotion_score", **words),
                {"answer": value, "score": name, "range": list(given)})  # fmt: skip


def _turns(sample: Sample) -> list[Event]:
    """What is spoken, with times and speakers or words, by onset."""
    found = [e for e in sample.events if e.onset is not None and e.offset is not None and (e.speaker or e.text)]
    return sorted(found, key=onset_of)


def speakers(making: Making, sample: Sample) -> Turn | None:
    """How many people speak; needs a source that names them all."""
    names = {event.speaker for event in sample.events if event.speaker}
    if not making.surely(sample) or not names or len(names) > MAX_LISTED:
        return None
    words = number_words(len(names))
    return Turn(making.ask("speakers"), making.say("speakers", n=words), {"answer": len(names)})


def who_when(making: Making, sample: Sample) -> Turn | None:
    """Turns of the speakers with times; they are called A, B, ... in order of appearance."""
    turns = [event for event in _turns(sample) if event.speaker]
    names = distinct(event.speaker for event in turns)
    if not making.surely(sample) or not 2 <= len(turns) <= 2 * MAX_LISTED or len(names) > 8:
        return None
    letters = {name: "ABCDEFGH"[k] for k, name in enumerate(names)}
    text = "; ".join(f"{letters[e.speaker]}: {span_text(onset_of(e), offset_of(e))}" for e in turns)
    table = [[letters[e.speaker], round(onset_of(e), 3), round(offset_of(e), 3)] for e in turns]
    return Turn(making.ask("who_when"), making.say("who_when", x=f"{text}."), {"answer": table})


def said_at(making: Making, sample: Sample) -> Turn | None:
    """The words of one turn, by its time."""
    turns = [event for event in _turns(sample) if plain(event.text) and not _GAPS.search(event.text)]
    alone = [
        turn
        for turn in turns
        if not any(o is not turn and onset_of(o) < offset_of(turn) and onset_of(turn) < offset_of(o) for o in turns)
    ]
    if not alone:
        return None
    turn = making.one(alone)
    words = {"t": seconds_text(onset_of(turn)), "u": seconds_text(offset_of(turn))}
    text = plain(turn.text)
    return Turn(making.ask("said_at", **words), making.say("said_at", x=text), {"answer": text})


def pitch(making: Making, sample: Sample) -> Turn | None:
    """Whether the voice is low, medium or high, as measured."""
    value = pitch_of(sample)
    word = band(value, PITCH_BANDS_HZ, PITCH_WORDS) if value is not None else ""
    if value is None or not word:
        return None
    return Turn(making.ask("pitch"), making.say("pitch", x=word, t=f"{value:.0f}"), {"answer": word, "hz": value})


def energy(making: Making, sample: Sample) -> Turn | None:
    """Whether the recording is quiet, medium or loud, as measured."""
    value = loudness_of(sample)
    word = band(value, LOUDNESS_BANDS_DB, LOUDNESS_WORDS) if value is not None else ""
    if value is None or not word:
        return None
    return Turn(making.ask("energy"), making.say("energy", x=word, t=f"{-value:.0f}"), {"answer": word, "db": value})


def speed(making: Making, sample: Sample) -> Turn | None:
    """Whether the speech is slow, medium or fast, as measured."""
    value = speed_of(sample)
    word = band(value, SPEED_BANDS_WPM, SPEED_WORDS) if value is not None else ""
    if value is None or not word:
        return None
    return Turn(making.ask("speed"), making.say("speed", x=word, t=f"{value:.0f}"), {"answer": word, "wpm": value})


def _spoken(sample: Sample) -> bool:
    return bool(sample.transcript)


def _tongued(sample: Sample) -> bool:
    return bool(sample.language)


def _feels(sample: Sample) -> bool:
    return bool(sample.voice.emotion)


def _sexed(sample: Sample) -> bool:
    return bool(sample.voice.sex)


def _turned(sample: Sample) -> bool:
    return any(event.speaker or event.text for event in sample.events)


FAMILY = "speech"
TASKS = (
    Task("transcribe", FAMILY, "the spoken words", _spoken, transcribe, 5, kind="transcribe"),
    Task("translate", FAMILY, "in another language", lambda s: bool(s.translations), translate, 3, kind="translate"),
    Task("mentioned", FAMILY, "whether a word is said, half are not", _spoken, mentioned, 2),
    Task("language", FAMILY, "the spoken language", _tongued, language, 3, kind="analysis", by="language"),
    Task("sex", FAMILY, "a man or a woman", _sexed, sex, 2, kind="analysis"),
    Task("age", FAMILY, "years", lambda s: s.voice.age is not None, age, 1, kind="analysis"),
    Task("age_group", FAMILY, "age group", lambda s: bool(s.voice.age_group), age_group, 1, kind="analysis"),
    Task("accent", FAMILY, "accent", lambda s: bool(s.voice.accent), accent, 1, kind="analysis"),
    Task("emotion", FAMILY, "emotion of the voice", _feels, emotion, 3, kind="analysis", by="emotion"),
    Task("emotion_choice", FAMILY, "emotion, of some", _feels, emotion_choice, 2, kind="analysis", by="emotion"),
    Task("sex_emotion", FAMILY, "sex and emotion together", _feels, sex_emotion, 1, kind="analysis"),
    Task(
        "emotion_score", FAMILY, "a score such as arousal, on the source's scale",
        lambda sample: bool(sample.voice.emotion_scores), emotion_score, 1, kind="analysis",
    ),
    Task("speakers", FAMILY, "how many people speak", _turned, speakers, 1),
    Task("who_when", FAMILY, "turns of the speakers with times", _turned, who_when, 1, kind="analysis", times=True),
    Task("said_at", FAMILY, "the words of a stretch", _turned, said_at, 1, kind="transcribe", times=True),
    Task("pitch", FAMILY, "low, medium or high, measured", lambda s: pitch_of(s) is not None, pitch, 1),
    Task("energy", FAMILY, "quiet, medium or loud, measured", lambda s: loudness_of(s) is not None, energy, 1),
    Task("speed", FAMILY, "slow, medium or fast, measured", lambda s: speed_of(s) is not None, speed, 1),
)  # fmt: skip
