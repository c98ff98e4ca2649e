"""Questions about what a speaker means by what is said: its sentiment, and the acts of a dialogue."""

from __future__ import annotations

from data_prep.makers.base import Making, Task, Turn
from data_prep.makers.survey import SENTIMENTS, acts_of, sentiment_of
from data_prep.makers.wording import distinct, plain
from data_prep.samples import Sample

ACT_WORDS = {
    "acknowledge": "an acknowledgement", "answer agree": "an answer that agrees",
    "answer dis": "an answer that disagrees", "answer general": "an answer", "apology": "an apology",
    "backchannel": "a sign of listening", "disfluency": "a stumble", "other": "something else",
    "question check": "a question to make sure", "question general": "a question",
    "question repeat": "a request to repeat", "self": "words to oneself", "statement close": "a closing statement",
    "statement general": "a statement", "statement instruct": "an instruction",
    "statement open": "an opening statement", "statement problem": "a statement of a problem", "thanks": "thanks",
}  # fmt: skip
"""The acts of HarperValleyBank as SLUE names them; others stay as their source writes them."""


def words_of(act: str) -> str:
    """An act as it is said."""
    return ACT_WORDS.get(act, plain(act))


def _kind(act: str) -> str:
    """The first word: a question to make sure is a question."""
    return act.split()[0]


def sentiment(making: Making, sample: Sample) -> Turn | None:
    """Whether what is said is negative, neutral or positive."""
    name = sentiment_of(sample)
    meta = {"answer": name, "options": list(SENTIMENTS)}
    return Turn(making.ask("sentiment"), making.say("sentiment", x=name), meta) if name else None


def dialogue_acts(making: Making, sample: Sample) -> Turn | None:
    """All acts, in the order of the source."""
    names = distinct(map(words_of, acts_of(sample)))
    if not names:
        return None
    return Turn(making.ask("dialogue_acts"), making.say("dialogue_acts", x=", ".join(names)), {"answer": names})


def dialogue_act(making: Making, sample: Sample) -> Turn | None:
    """Whether it is a certain act; half are not, and none of those is of a kind with one that it is."""
    mine = acts_of(sample)
    kinds = {_kind(act) for act in mine}
    others = [act for act in making.survey.counts(("act", sample.source)) if _kind(act) not in kinds]
    if not mine or not others:
        return None
    there = making.coin()
    act = making.one(mine if there else others)
    reply = making.say("dialogue_act", "answers" if there else "refusals", x=words_of(act))
    meta = {"answer": "yes" if there else "no", "class": words_of(act)}
    return Turn(making.ask("dialogue_act", x=words_of(act)), reply, meta)


def _acts(sample: Sample) -> bool:
    return bool(acts_of(sample))


FAMILY = "speech"
TASKS = (
    Task("sentiment", FAMILY, "negative, neutral or positive", lambda s: bool(sentiment_of(s)), sentiment, 2,
         kind="analysis", by="sentiment"),
    Task("dialogue_acts", FAMILY, "what the speaker does: asks, answers, thanks, ...", _acts, dialogue_acts, 2,
         kind="analysis", by="act"),
    Task("dialogue_act", FAMILY, "whether it is a certain act, half are not", _acts, dialogue_act, 2, by="act"),
)  # fmt: skip
