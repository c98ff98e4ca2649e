"""Prepared benchmarks: written and read whole, refused when something is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from alm.errors import RecordError
from eval.harness.items import BenchCard, ChoiceWant, Clip, Item, LabelWant, Message
from eval.harness.prepared import content_hash, read_prepared, write_prepared
from eval.kinds.base import LabelSet


def item(name: str = "a", **changes: object) -> Item:
    fields: dict[str, object] = {
        "id": name,
        "messages": (Message(role="user", content="<audio>Which?"),),
        "audios": (Clip(path="a.wav"),),
        "want": ChoiceWant(choices=("dog", "cat"), answer=1),
    }
    return Item.model_validate({**fields, **changes})


def card(items: int) -> BenchCard:
    return BenchCard(bench="toy", version="1", split="test", licence="CC0-1.0", source="made up", items=items)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    items = [item("a"), item("b", want=LabelWant(labels=("dog",), label_set="pets"))]
    sets = [LabelSet("pets", {"dog": ("a dog",), "cat": ()})]
    written = write_prepared(tmp_path, card(2), items, sets)
    assert written == read_prepared(tmp_path) and list(written.items) == items
    assert written.around.label_sets["pets"].labels == {"dog": ("a dog",), "cat": ()}
    assert written.hash == content_hash(items[::-1], written.around.label_sets)
    assert written.hash != content_hash(items[:1], written.around.label_sets), "control"


def test_what_is_wrong_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="called 'a'"):
        write_prepared(tmp_path, card(2), [item("a"), item("a")])
    with pytest.raises(RecordError, match="1 items were made but the card says 2"):
        write_prepared(tmp_path, card(2), [item("a")])
    with pytest.raises(RecordError, match="prepare NAME"):
        read_prepared(tmp_path)
    write_prepared(tmp_path, card(1), [item("a")])
    text = (tmp_path / "items.jsonl").read_text()
    (tmp_path / "items.jsonl").write_text(text.replace('"answer":1', '"answer":7'))
    with pytest.raises(RecordError, match=r"line 1: .*answer 7 is not one of 2"):
        read_prepared(tmp_path)


def test_places_and_recordings_agree() -> None:
    with pytest.raises(ValidationError, match="1 places"):
        item(audios=())
