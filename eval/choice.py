"""Which of four sounds is heard: against chance, the text-only model, another recording, and a linear probe."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from eval.asking import Column, Style, all_columns, ask, item_rows
from eval.corpus import Corpus
from eval.items import PER_CLASS, VAGUE, Item, choice_items, listed
from eval.metrics import macro, mcnemar, share
from eval.probe import Probe, trained
from eval.results import Figure, Result, Table, constant
from eval.session import Session
from eval.tags import listed as listed_in_evidence
from eval.tags import surest
from eval.text import chosen

ABOUT = (
    "Test split of the corpus (packages that training never saw), classes with at least 2 training and 1 test "
    f"recordings, at most {PER_CLASS} recordings a class, first 10 s. Each set of four options, from four groups, is "
    "asked four times, once with each option as the truth, so that options alone tell nothing."
)
STYLE = Style(lambda i: [o.text for o in i.options], lambda a, i: chosen(a, i.options))


def in_one_line(items: Sequence[Item]) -> list[Item]:
    """The questions with unlettered options."""
    return [_with_text(i, f"Which of these is heard? Options: {'; '.join(o.text for o in i.options)}.") for i in items]


def lettered(items: Sequence[Item]) -> list[Item]:
    """The questions with options after letters."""
    return [_with_text(i, f"Which of these is heard?{listed(i.options)}") for i in items]


def _with_text(item: Item, text: str) -> Item:
    return replace(item, question=replace(item.question, text=text))


def run(session: Session) -> Result:
    """See the module."""
    items = choice_items(session.corpus, session.options.seed)[: session.options.limit]
    columns = all_columns(session, in_one_line(items), STYLE)
    letters = ask(session, lettered(items), "heard").said(STYLE)
    letters.key, letters.label = "letters_said", "recording, options with letters, free answer"
    columns.append(letters)
    first = Column("always_first", "always the first option", [0] * len(items))
    probe = trained(session)
    ceiling = probe_column(session, items, probe)
    columns += [first, listed_in_evidence(session, items), surest(session, items), ceiling]
    result = Result("choice", "Which of four is heard", ABOUT, [c.figure(items) for c in columns])
    result.figures.append(Figure("chance", "chance", constant(0.25)))
    result.figures.append(_macro("heard_macro", "recording, likeliest option, mean over classes", columns[0], items))
    result.tables = [
        by_group(session.corpus, items, columns),
        confusion(session.corpus, items, columns[2]),
        by_class(items, columns),
    ]
    result.notes = notes(items, columns, probe)
    result.items = item_rows(items, columns)
    result.facts = {
        "counts": {"questions": len(items), "classes": len({i.kind for i in items}), "probe_training": probe.trained_on}
    }
    return result


def probe_column(session: Session, items: Sequence[Item], probe: Probe) -> Column:
    """What the probe chooses among the same four options."""
    heard = session.answerer.heard
    picks = [probe.among(heard[i.sounds[0]].pooled, i.facts["options"]) for i in items]
    return Column("probe", "linear probe on the same frozen features (ceiling)", picks)


def _macro(key: str, label: str, column: Column, items: Sequence[Item]) -> Figure:
    value = macro(column.right(items), [i.kind for i in items])
    return Figure(key, label, constant(value, len({i.kind for i in items})), note="questions: classes")


def shown_columns(columns: Sequence[Column]) -> list[Column]:
    """The columns that per-group and per-class tables show."""
    keys = ("heard_likelihood", "heard_said", "evidence_likelihood", "alone_likelihood", "tags", "probe")
    return [c for k in keys for c in columns if c.key == k]


def by_group(corpus: Corpus, items: Sequence[Item], columns: Sequence[Column]) -> Table:
    """Accuracy by group of the right answer."""
    shown = shown_columns(columns)
    rights = [c.right(items) for c in shown]
    places: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        places[corpus.classes.group(item.kind)].append(index)
    rows = [
        (group, len(own), *(share([r[i] for i in own], [items[i].source for i in own]).value for r in rights))
        for group, own in sorted(places.items(), key=lambda g: -len(g[1]))
    ]
    return Table("By group", ("group", "questions", *(c.label for c in shown)), rows)


def by_class(items: Sequence[Item], columns: Sequence[Column]) -> Table:
    """Accuracy by class of the right answer."""
    shown = shown_columns(columns)
    rights = [c.right(items) for c in shown]
    places: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        places[item.kind].append(index)
    rows = [
        (kind, len(own), *(sum(r[i] for i in own) / len(own) for r in rights)) for kind, own in sorted(places.items())
    ]
    return Table("By class", ("class", "questions", *(c.label for c in shown)), rows, folded=True)


def confusion(corpus: Corpus, items: Sequence[Item], column: Column) -> Table:
    """How often a group (row) was answered by a group (column)."""
    counts: Counter[tuple[str, str]] = Counter()
    for item, pick in zip(items, column.chosen, strict=True):
        if pick is not None:
            counts[corpus.classes.group(item.kind), corpus.classes.group(item.facts["options"][pick])] += 1
    groups = sorted({g for pair in counts for g in pair})
    rows = [(g, *(counts[g, other] for other in groups)) for g in groups]
    return Table(f"Groups: truth (row) and answer (column); {column.label}", ("truth", *groups), rows, folded=True)


def notes(items: Sequence[Item], columns: Sequence[Column], probe: Probe) -> list[str]:
    """Comparisons that the table does not show by itself."""
    named = {c.key: c.right(items) for c in columns}
    ratio = sum(named["heard_likelihood"]) / max(1, sum(named["probe"]))
    best = sum(named["evidence_likelihood"]) / max(1, sum(named["probe"]))
    p_alone = mcnemar(named["heard_likelihood"], named["alone_likelihood"])
    return [
        f"With the recording the likeliest option reaches {100 * ratio:.0f} % of the probe's accuracy, "
        f"with evidence {100 * best:.0f} %.",
        f"With against without recording (likeliest option): exact McNemar p = {p_alone:.2g}.",
        f"Probe: {probe.trained_on} recordings of train, penalty {probe.penalty:g}, class weights: count to the power "
        f"of {0 - probe.balance:g}; both chosen on dev, where its mean accuracy over classes is "
        f"{100 * probe.dev_accuracy:.0f} % (choosing among {len(probe.names)} classes).",
        f"Classes that say too little to be asked for ({', '.join(VAGUE)}) are left out.",
    ]
