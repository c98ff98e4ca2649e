"""Rules that compare an answer with the right one as a string: Qwen's, HELM's, BLAB's, LTU's."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence

from eval.harness.answers import Judged
from eval.harness.items import CaptionWant, ChoiceWant, Item, LabelWant, OpenWant, TranscriptWant
from eval.kinds.base import Surroundings
from eval.official.base import Official, Verdict

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_BLAB_LETTER = re.compile(r"\(([A-E])\)")


def golds_of(item: Item) -> tuple[str, ...]:
    """The right answers in words, whatever the kind."""
    want = item.want
    if isinstance(want, ChoiceWant):
        return (want.choices[want.answer],)
    if isinstance(want, LabelWant):
        return want.labels
    if isinstance(want, TranscriptWant):
        return (want.reference,)
    return want.references if isinstance(want, OpenWant | CaptionWant) else ()


def helm_normalised(text: str, articles: bool = False) -> str:
    """HELM's normal form: lower case, no ASCII punctuation, no articles unless they are kept, single blanks.

    >>> helm_normalised("The Dog's bark!")
    'dogs bark'
    """
    plain = text.lower().translate(_NO_PUNCTUATION)
    return " ".join((plain if articles else _ARTICLES.sub(" ", plain)).split())


def exact(gold: str, said: str) -> bool:
    """The same characters, blanks around them aside."""
    return bool(said) and gold.strip() == said.strip()


def quasi_exact(gold: str, said: str) -> bool:
    """The same in HELM's normal form."""
    return bool(said) and helm_normalised(gold) == helm_normalised(said)


def quasi_prefix(gold: str, said: str) -> bool:
    """The answer begins with the right one, both in HELM's normal form.

    >>> quasi_prefix("cough", "Coughing, I think"), quasi_prefix("cough", "It is a cough")
    (True, False)
    """
    return bool(said) and helm_normalised(said).startswith(helm_normalised(gold))


def last_bracketed(said: str, letters: str = "ABCDE") -> str | None:
    """BLAB's reading of an emotion: the last letter in brackets.

    >>> last_bracketed("Not (A) but **(C)**"), last_bracketed("C")
    ('C', None)
    """
    found = [letter for letter in _BLAB_LETTER.findall(said) if letter in letters]
    return found[-1] if found else None


def gender(said: str) -> str:
    """LTU-AS's reading: male unless "female" occurs.

    >>> gender("a female voice"), gender("I cannot tell")
    ('female', 'male')
    """
    return "female" if "female" in said.lower() else "male"


def _rule(name: str, about: str, match: Callable[[str, str], bool]) -> Official:
    """One that asks whether any right answer matches; a missing answer counts as wrong."""

    def one(item: Item, text: str | None, judged: Sequence[Judged], around: Surroundings) -> Verdict | None:
        return Verdict(float(any(match(gold, text or "") for gold in golds_of(item))))

    return Official(name, about, one)


def _lettered(item: Item, text: str | None, judged: Sequence[Judged], around: Surroundings) -> Verdict | None:
    """HELM maps the whole answer from a letter to its option, and anything else to nothing."""
    if not isinstance(item.want, ChoiceWant):
        return None
    said = (text or "").strip()
    place = string.ascii_uppercase.find(said) if len(said) == 1 else -1
    choices = item.want.choices
    right = 0 <= place < len(choices) and choices[place] == choices[item.want.answer]
    return Verdict(float(right), read=said if place >= 0 else "")


def _emotion(item: Item, text: str | None, judged: Sequence[Judged], around: Surroundings) -> Verdict | None:
    if not isinstance(item.want, ChoiceWant):
        return None
    letters = string.ascii_uppercase[: min(len(item.want.choices), 5)]
    read = last_bracketed(text or "", letters)
    right = read is not None and letters.find(read) == item.want.answer
    return Verdict(float(right), counted=text is not None, read=read or "")


def _gender(item: Item, text: str | None, judged: Sequence[Judged], around: Surroundings) -> Verdict | None:
    gold = golds_of(item)
    right = text is not None and bool(gold) and gender(gold[0]) == gender(text)
    return Verdict(float(right), counted=text is not None)


RULES = (
    _rule("ahelm-quasi-exact", "HELM's quasi-exact match: without case, punctuation and articles.", quasi_exact),
    _rule(
        "ahelm-quasi-prefix",
        "HELM's quasi-prefix exact match: the answer begins with the right one; \"coughing\" is \"cough\".",
        quasi_prefix,
    ),
    Official("ahelm-mcq", 'The whole answer is the letter: "B." and "(B)" are wrong.', _lettered),
    Official("blab-emotion", 'The last letter in brackets; a bare "B" is none; unjoined rows are dropped.', _emotion),
    _rule("clotho-aqa-exact", "Qwen-Audio's: the same characters, case too.", exact),
    Official("ltu-gender", 'Male unless "female" occurs: a refusal is male.', _gender),
)
