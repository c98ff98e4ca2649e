"""Free answers to "What do you hear?", read by exact label and by text embedding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import Tensor

from eval.answering import Question
from eval.asking import CONDITIONS, prompts_of, questions_of
from eval.corpus import Corpus
from eval.embedding import Embedder, default_embedder
from eval.items import PER_CLASS, Item, judged_clips, sound_of
from eval.metrics import share
from eval.probe import Probe, trained
from eval.results import Figure, Result, Table, constant
from eval.session import Session
from eval.text import core, holds, simple

QUESTION = "What do you hear?"
TOP = 5
ABOUT = (
    f"The question is “{QUESTION}”, nothing is offered to choose from. Test split, classes with at least 2 training "
    f"and 1 test recordings, at most {PER_CLASS} recordings a class, first 10 s. Exact: the answer holds the name or "
    "phrase of a right class as whole words; with synonyms: or one of its synonyms. Embedding: the answer's nearest "
    "classes by all-MiniLM-L6-v2."
)


def open_items(corpus: Corpus, seed: int) -> list[Item]:
    """One question for each test recording."""
    return [
        Item(clip.id, Question(QUESTION, (sound_of(clip),)), (), 0, clip.package, name, {"classes": list(clip.classes)})
        for name, clips in judged_clips(corpus, seed).items()
        for clip in clips
    ]


def wordings(corpus: Corpus, name: str, synonyms: bool) -> list[str]:
    """What counts as naming a class."""
    item = corpus.classes.by_name[name]
    return [core(w) for w in (item.phrase, item.name, *(item.synonyms if synonyms else ()))]


def names_class(corpus: Corpus, answer: str, classes: Sequence[str], synonyms: bool) -> bool:
    """Whether an answer names one of the right classes."""
    said = simple(answer)
    known = [c for c in classes if c in corpus.classes.by_name]
    return any(holds(said, w) for c in known for w in wordings(corpus, c, synonyms))


class Nearest:
    """Classes nearest to an answer by embedding."""

    def __init__(self, corpus: Corpus, names: Sequence[str], embedder: Embedder) -> None:
        self.names, self.embedder = list(names), embedder
        self.classes: Tensor = embedder([f"I hear {corpus.classes.by_name[n].phrase}." for n in self.names])

    def __call__(self, answers: Sequence[str]) -> list[list[str]]:
        """The nearest classes of each answer, best first; none for an empty answer."""
        ranked = (self.embedder(answers) @ self.classes.T).topk(min(TOP, len(self.names)), dim=1).indices.tolist()
        return [[self.names[i] for i in row] if simple(a) else [] for a, row in zip(answers, ranked, strict=True)]


def score(
    corpus: Corpus, nearest: Nearest, items: Sequence[Item], answers: Sequence[str], key: str, label: str
) -> list[Figure]:
    """The figures of one list of answers."""
    sources = [i.source for i in items]
    classes = [i.facts["classes"] for i in items]
    close = nearest(answers)
    groups = [{corpus.classes.group(c) for c in own if c in corpus.classes.by_name} for own in classes]
    rights = {
        "exact": [names_class(corpus, a, c, False) for a, c in zip(answers, classes, strict=True)],
        "synonym": [names_class(corpus, a, c, True) for a, c in zip(answers, classes, strict=True)],
        "top1": [bool(set(n[:1]) & set(c)) for n, c in zip(close, classes, strict=True)],
        "top5": [bool(set(n) & set(c)) for n, c in zip(close, classes, strict=True)],
        "group": [bool({corpus.classes.group(x) for x in n[:1]} & g) for n, g in zip(close, groups, strict=True)],
    }
    texts = {
        "exact": "exact label", "synonym": "exact label or synonym", "top1": "embedding, nearest class",
        "top5": f"embedding, {TOP} nearest classes", "group": "embedding, group of the nearest class",
    }  # fmt: skip
    return [Figure(f"{key}_{k}", f"{label}: {texts[k]}", share(r, sources)) for k, r in rights.items()]


def run(session: Session) -> Result:
    """See the module."""
    corpus, seed = session.corpus, session.options.seed
    items = open_items(corpus, seed)
    items = items[:: max(1, len(items) // session.options.limit)] if session.options.limit else items
    names = sorted({i.kind for i in open_items(corpus, seed)})
    nearest, answers = Nearest(corpus, names, default_embedder()), _answers(session, items)
    figures = [f for c, a in answers.items() for f in score(corpus, nearest, items, a, c, CONDITIONS[c])]
    result = Result("open", "Free answers: what do you hear", ABOUT, figures)
    probe = trained(session)
    result.figures += probe_figures(session, items, probe, names)
    result.figures.append(Figure("chance", "chance, nearest class", constant(1 / len(names))))
    result.tables = [variety(answers), examples(items, answers)]
    result.facts = {"counts": {"questions": len(items), "classes": len(names)}}
    result.items = [
        {
            "id": i.id,
            "source": i.source,
            "classes": i.facts["classes"],
            "answers": {c: a[n] for c, a in answers.items()},
        }
        for n, i in enumerate(items)
    ]
    return result


def _answers(session: Session, items: Sequence[Item]) -> dict[str, list[str]]:
    """Free answers by condition."""
    found = {}
    for condition in ("heard", "evidence", "alone", "shuffled"):
        asked = items[:1] if condition == "alone" else items  # without a recording all questions are the same
        questions = questions_of(asked, condition, session.options.seed)
        prompts = prompts_of(session, questions, condition)
        with session.progress(f"answers, {condition}", len(prompts)) as advance:
            made = session.answerer.generate(prompts, 32, advance)
        found[condition] = made * len(items) if condition == "alone" else made
    return found


def probe_figures(session: Session, items: Sequence[Item], probe: Probe, names: Sequence[str]) -> list[Figure]:
    """What the linear probe knows about the same recordings."""
    heard = session.listener.hear([i.sounds[0] for i in items])
    ranked = [probe.top(heard[i.sounds[0]].pooled, TOP, names) for i in items]
    sources = [i.source for i in items]
    first = [bool(set(r[:1]) & set(i.facts["classes"])) for r, i in zip(ranked, items, strict=True)]
    five = [bool(set(r) & set(i.facts["classes"])) for r, i in zip(ranked, items, strict=True)]
    return [
        Figure("probe_top1", "linear probe: likeliest class", share(first, sources)),
        Figure("probe_top5", f"linear probe: {TOP} likeliest classes", share(five, sources)),
    ]


def variety(answers: dict[str, list[str]]) -> Table:
    """How many different answers there are, and how often the commonest comes."""
    rows = []
    for condition, own in answers.items():
        common, times = Counter(own).most_common(1)[0]
        rows.append((CONDITIONS[condition], len(set(own)), common[:80], times / len(own)))
    return Table("Variety of answers", ("condition", "different answers", "commonest", "share"), rows)


def examples(items: Sequence[Item], answers: dict[str, list[str]], count: int = 20) -> Table:
    """Every n-th answer, for reading."""
    step = max(1, len(items) // count)
    rows = [(i.kind, answers["heard"][n], answers["evidence"][n]) for n, i in list(enumerate(items))[::step]]
    return Table("Examples (not selected)", ("class", "answer", "answer with evidence"), rows, folded=True)
