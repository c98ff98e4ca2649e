"""The study: arms differ in one thing, answers are compared as they should be, what is looked at is what is there."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alm.errors import ConfigError
from tests import training_helpers as small
from training.config import DataConfig, RunConfig, load_config
from training.groups import narrow_frozen, set_trainable
from training.language import BARE, token_losses
from training.precision import as_kept
from training.rows import Collator, Knowledge, Row
from training.score import Said, table
from training.study import insight, scoring
from training.study.arms import ARMS, BASE, PARTS, chosen, configured
from training.study.claims import Claim, compared, verdict
from training.study.insight import attention_by_layer, knowledge_by_layer, probed
from training.study.page import page
from training.study.report import Questions, figure, interval, read_scores, read_study, tables
from training.study.running import CONFIG, ROWS, SCORES, jobs, same_study
from training.study.scoring import save_scores, score

STUDY = Path(__file__).parents[1] / "training" / "configs" / "study.yaml"


def test_arms_differ_from_what_they_are_compared_with() -> None:
    base = load_config(STUDY)
    made = {a.name: configured(base, a, 1) for a in ARMS}
    assert len({a.name for a in ARMS}) == len(ARMS) and {a.part for a in ARMS} == set(PARTS)
    for arm in ARMS:
        assert arm.name == arm.against or made[arm.name] != made[arm.against], arm.name
    kept = made[BASE]
    for arm in (a for a in ARMS if a.fusion):
        run = asdict(made[arm.name])
        run["model"]["branches"][0].pop("fusion")
        plain = asdict(kept)
        plain["model"]["branches"][0].pop("fusion")
        assert run == plain, f"{arm.name} differs in its door alone"
    language = [s.steps for s in base.stages if s.kind == "language"]
    assert [s.steps for s in made["mixed"].stages if s.kind == "language"] == [sum(language)], "as many steps"
    assert [j.name for j in jobs(chosen(["prefix", BASE]), range(1, 3))][:2] == ["prefix-1", f"{BASE}-1"]
    with pytest.raises(ConfigError, match="no arm 'deep'"):
        chosen(["deep"])


def _collator(folder: Path, scheme: str, start: int) -> tuple[Any, Collator]:
    cache = small.write_cache(folder / "cache", [f"{i}.wav" for i in range(8)])
    branch = {**(small.config().branches or [{}])[0], "fusion": {"scheme": scheme, "start_layer": start}}
    model = small.model(branches=[branch])
    knowledge = Knowledge({}, {}, {}, tuple(small.LABELS))
    return model, Collator(small.processor(model.config), cache, knowledge, "")


def _rows(collator: Collator, folder: Path) -> list[Row]:
    items = [collator.cache.items[str(folder / f"{i}.wav")] for i in range(8)]
    asked = {"role": "user", "content": "<audio>what is it ?"}
    texts = [small.LABELS[i % 3] for i in range(8)]
    return [
        Row(str(i), "label", "s", "test", (asked, {"role": "assistant", "content": f"a {t}"}), (item,), i % 5,
            tuple(f"a {x}" for x in (t, *(y for y in small.LABELS if y != t))) if i % 2 else ())
        for i, (t, item) in enumerate(zip(texts, items, strict=True))
    ]  # fmt: skip


def test_answers_are_scored_alike_alone_and_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, collator = _collator(tmp_path, "delayed", 1)
    rows = _rows(collator, tmp_path)
    together = score(model, collator, rows)
    monkeypatch.setitem(scoring.ROWS_AT_ONCE, "cpu", 1)
    alone = score(model, collator, rows)
    assert together[0].tolist() == alone[0].tolist()
    np.testing.assert_allclose(together[1], alone[1], atol=1e-4)


def test_a_model_with_narrow_matrices_is_scored_as_it_was_trained(tmp_path: Path) -> None:
    model, collator = _collator(tmp_path, "delayed", 1)
    rows = _rows(collator, tmp_path)
    whole = score(model, collator, rows)[1]
    set_trainable(model, ["aligner"])
    narrow_frozen(model)
    with as_kept(model):
        np.testing.assert_allclose(score(model, collator, rows)[1], whole, rtol=0.03)
    with pytest.raises(RuntimeError, match="dtype"):  # the control
        score(model, collator, rows)


def test_the_likeliest_of_the_allowed_answers_counts(tmp_path: Path) -> None:
    model, collator = _collator(tmp_path, "delayed", 1)
    row = next(r for r in _rows(collator, tmp_path) if r.rivals)
    nats = []
    for text in row.rivals:
        messages = (row.messages[0], {"role": "assistant", "content": text})
        one = Row(row.id, row.task, row.source, row.split, messages, row.items, row.length)
        batch = collator.batch([[one]], BARE, np.random.default_rng(0))
        with torch.no_grad():
            each = token_losses(model, batch)[0]
        nats.append(float(each[:-1].sum()) / len(text))
    assert bool(score(model, collator, [row])[0][0]) == (int(np.argmin(nats)) == 0)


@pytest.mark.parametrize(("scheme", "start"), [("prefix", 0), ("delayed", 2), ("keys_values", 2)])
def test_attention_to_audio_is_seen_where_audio_is(
    tmp_path: Path, scheme: str, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, collator = _collator(tmp_path, scheme, start)
    monkeypatch.setattr(insight, "QUESTION", "what is it ?")
    for name, value in (("TRAIN_EACH", 1), ("LOOKED_AT", 2)):
        monkeypatch.setattr(insight, name, value)
    listed = small.sounds(tmp_path, 8)[:8]
    split = [type(s)(**{**vars(s), "split": "test" if i > 2 else "train"}) for i, s in enumerate(listed)]
    found = probed(split, collator.cache)
    assert any(found.train) and not all(found.train)
    shares = attention_by_layer(model, collator, found)
    assert [share > 0 for share in shares] == [layer >= start for layer in range(4)]
    known = knowledge_by_layer(model, collator, found)
    assert len(known) == 5 and all(0 <= value <= 1 for value in known)


def _study(folder: Path) -> None:
    folder.mkdir()
    rows = [{"id": str(i), "task": ["choice", "transcribe"][i % 2], "source": f"s{i % 7}"} for i in range(40)]
    (folder / ROWS).write_text(json.dumps(rows))
    for arm, share in ((BASE, 0.25), ("prefix", 0.75)):
        for seed in (1, 2):
            (folder / f"{arm}-{seed}").mkdir()
            right = np.random.default_rng(seed).random(40) < share
            save_scores(folder / f"{arm}-{seed}" / SCORES, right, np.full(40, 2.0, np.float32), {"seconds": 1.0})


def test_tables_tell_what_was_scored(tmp_path: Path) -> None:
    _study(tmp_path / "study")
    text = "\n".join(tables(*read_study(tmp_path / "study")))
    assert "| choice (20)" in text and "transcribe, nats" in text and "2.00 ± 0.00" in text
    assert "prefix against delayed-8 | **+" in text, "a surely better arm is marked"
    assert "| prefix against delayed-8 | +0.00 (+0.00 to +0.00) | +0.00 (+0.00 to +0.00) |" in text, "nats"
    kept = read_scores(tmp_path / "study", BASE, 40)
    assert kept is not None and kept.right.shape == (2, 40)
    assert read_scores(tmp_path / "study", "delayed", 40) is None, "names are whole"
    with pytest.raises(ConfigError, match="holds no study"):
        read_study(tmp_path)


def test_claims_hold_or_not_or_cannot_be_told(tmp_path: Path) -> None:
    _study(tmp_path / "study")
    config = replace(load_config(STUDY), out="").to_dict()
    (tmp_path / "study" / CONFIG).write_text(json.dumps(config))
    text = page(tmp_path / "study", tmp_path / "study.md", "the command")
    claimed = [line for line in text.splitlines() if line.startswith("| Audio that enters after the early layers")]
    assert len(claimed) == 1 and claimed[0].endswith("| **does not hold here** |"), claimed
    assert "4 runs of 60 are done; none of keys-values-8" in " ".join(text.split())
    assert "Two encoders" not in text, "its arms are not done"
    claim = Claim("x", "y", "prefix", BASE)
    found = compared(claim, read_study(tmp_path / "study")[1], Questions.read(tmp_path / "study"))
    assert found is not None and found.seeds == 2 and found.nats == (0.0, 0.0, 0.0) and found.points[1] > 0
    assert verdict(claim, found) == "holds here"
    assert verdict(replace(claim, equal=True), found) == "holds here, and the first is better"
    assert verdict(claim, replace(found, seeds=1)) == "cannot be told: one seed"
    assert verdict(claim, replace(found, points=(1.0, -1.0, 2.0))) == "cannot be told"
    assert verdict(claim, replace(found, nats=(-1.0, -2.0, -0.5))).endswith("disagree")


def test_scores_of_other_questions_are_not_gone_on_with(tmp_path: Path) -> None:
    base = json.loads(json.dumps(RunConfig("tiny", DataConfig(), ()).to_dict()))
    files = {ROWS: [{"id": "1"}], CONFIG: base}
    same_study(tmp_path, {ROWS: [], CONFIG: base})
    same_study(tmp_path, files)  # nothing is scored yet
    (tmp_path / "prefix-1").mkdir()
    save_scores(tmp_path / "prefix-1" / SCORES, np.ones(1, bool), np.ones(1, np.float32), {})
    same_study(tmp_path, files)
    (tmp_path / CONFIG).write_text(json.dumps({k: v for k, v in base.items() if k != "keep_checkpoints"}))
    same_study(tmp_path, files)  # a field that came later
    for changed in ({ROWS: [{"id": "2"}]}, {CONFIG: {**base, "seed": 2}}):
        with pytest.raises(ConfigError, match="other questions or settings"):
            same_study(tmp_path, {**files, **changed})


def test_intervals_are_over_sources() -> None:
    sources = np.array(["a"] * 50 + ["b"] * 50)
    values = np.array([1.0] * 50 + [0.0] * 50)
    mask = [np.ones(100, bool)]
    assert figure(values, mask) == 0.5
    assert interval(values, mask, sources, "x") == (0.0, 1.0), "two sources tell next to nothing"
    low, high = interval(values, mask, np.arange(100).astype(str), "x")
    assert 0.35 < low < 0.5 < high < 0.65, "the control: a hundred tell more"


def test_intervals_are_over_seeds_too() -> None:
    sources, mask = np.arange(100).astype(str), [np.ones(100, bool)]
    alike, unlike = np.zeros((2, 100)), np.stack([np.zeros(100), np.ones(100)])
    assert interval(alike, mask, sources, "x") == (0.0, 0.0)
    assert interval(unlike, mask, sources, "x") == (0.0, 1.0), "either seed alone may be the whole truth"


def test_adapters_stand_side_by_side() -> None:
    rows = [Row(str(i), ["order", "overlap"][i % 2], f"s{i}", "test", (), (), 1) for i in range(40)]
    old = Said(np.zeros(40, bool), np.full(40, 2.0, np.float32))
    new = Said(np.ones(40, bool), np.full(40, 1.5, np.float32))
    lines = table(rows, {"old": old, "new": new}, known=["order"])
    same = "| 0.0 | 100.0 | +100.0 (+100.0 to +100.0) | 2.00 | 1.50 | -0.50 (-0.50 to -0.50) |"
    assert f"| `order` | 20 {same}" in lines and f"| `overlap` (new) | 20 {same}" in lines
    assert f"| **all new** | 20 {same}" in lines
