"""Named entities: tags with their phrases, counted as multisets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from eval.scorers.records import MOST, Read, field_of, lines_of, objects_in, says_nothing, text_of
from eval.scorers.spans import Tally
from eval.text import simple

Entity = tuple[str, str]
"""Tag and phrase."""
TAGS = ("label", "tag", "type", "category", "entitytype", "entitylabel", "class")
PHRASES = ("text", "phrase", "entity", "value", "name", "mention", "span", "word")


def read_entities(text: str) -> Read[Entity]:
    """
    >>> read_entities('[{"label": "PLACE", "text": "france"}]').value, read_entities('{"WHEN": ["today"]}').value
    ([('PLACE', 'france')], [('WHEN', 'today')])
    >>> read_entities("- PLACE: france\\n- WHEN: today").value, read_entities("No entities.").value
    ([('PLACE', 'france'), ('WHEN', 'today')], [])
    """
    found, rule = objects_in(text)
    if found is not None:
        entities = [e for record in found for e in _entities(record)][:MOST]
        if entities or not any(found):
            return Read(entities, rule, sum(not list(_entities(record)) for record in found if record))
    if says_nothing(text):
        return Read([], "nothing")
    lines = [line.partition(":") for line in lines_of(text)]
    pairs = [(tag.strip(" *`\""), phrase.strip(" *`\"'")) for tag, colon, phrase in lines if colon]
    kept = [(tag, phrase) for tag, phrase in pairs if phrase and len(tag.split()) == 1]
    return Read(kept, "text") if kept else Read(None, rule)


def _entities(record: object) -> Iterable[Entity]:
    """Of an object with a tag and a phrase, of one that lists phrases by tag, or of a pair."""
    if isinstance(record, list) and len(record) == 2 and all(isinstance(x, str) for x in record):
        return [(record[0].strip(), record[1].strip())]
    if not isinstance(record, dict):
        return []
    tag, phrase = text_of(record, TAGS), text_of(record, PHRASES)
    if tag and phrase:
        return [(tag, phrase)]
    if field_of(record, TAGS + PHRASES) is not None:
        return []
    listed = {str(k): v if isinstance(v, list) else [v] for k, v in record.items()}
    return [(k, p.strip()) for k, phrases in listed.items() for p in phrases if isinstance(p, str) and p.strip()]


def entity_tally(gold: Sequence[Entity], said: Sequence[Entity]) -> Tally:
    """Pairs of tag and phrase, each as often as it stands there.

    >>> entity_tally([("GPE", "eu"), ("GPE", "eu")], [("GPE", "eu"), ("DATE", "today")])
    Tally(hits=1, extra=1, missed=1)
    """
    wanted, given = Counter(gold), Counter(said)
    hits = (wanted & given).total()
    return Tally(hits, given.total() - hits, wanted.total() - hits)


def label_tally(gold: Sequence[Entity], said: Sequence[Entity]) -> Tally:
    """Tags alone: whether so many of each kind were named, whatever the phrases."""
    return entity_tally([(t, "") for t, _ in gold], [(t, "") for t, _ in said])


def plain(entities: Sequence[Entity]) -> list[Entity]:
    """Tags in capitals, phrases without case and punctuation."""
    return [(t.upper().strip(), simple(p) or p.lower().strip()) for t, p in entities]
