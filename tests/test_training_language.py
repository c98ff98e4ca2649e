"""Language stages: the loss of answers, shared reading, schedules, evidence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from alm.asked import Scores
from alm.evidence import Sounds, Tag
from data_prep.records import Message, Record
from tests import training_helpers as small
from training import language
from training.config import EvidenceConfig, StageConfig
from training.features import as_inputs
from training.groups import group_of, learned_state, narrow_frozen, set_trainable
from training.language import LanguageObjective
from training.loop import Log, Stage, Stop
from training.objective import rng_for
from training.rows import Collator, Knowledge, Row, Schedule, companions, load_rows, task_of
from training.typed import build

CONFIG = Path(__file__).parent.parent / "training" / "configs" / "tiny.yaml"


def test_denials_are_a_task_of_their_own() -> None:
    turns = (Message("user", "<audio>A dog?"), Message("assistant", "No."))
    record = Record("1", turns, ("a.wav",), "s", "yes_no", "train", "CC0", 1.0, {"answer": "no"})
    assert task_of(record) == "deny"
    assert task_of(replace(record, meta={"answer": "yes"})) == "yes_no"
    assert task_of(replace(record, task="absent")) == "absent"


def _language(folder: Path, evidence: Any = None, **changes: Any) -> tuple[LanguageObjective, Any]:
    names = [f"{i}.wav" for i in range(6)]
    cache = small.write_cache(folder / "cache", names)
    lines = []
    for i in range(12):
        answer = small.LABELS[i % 3]
        messages = [{"role": "user", "content": "<audio>what is it ?"}, {"role": "assistant", "content": f"a {answer}"}]
        task = ["label", "kind"][i % 2]
        lines.append(json.dumps({
            "id": str(i), "messages": messages, "audios": [names[i % 6]], "source": "s", "task": task,
            "split": "dev" if i > 8 else "train", "licence": "CC0", "duration": 0.3,
        }))  # fmt: skip
    (folder / "rows.jsonl").write_text("\n".join(lines))
    rows, missing = load_rows([folder / "rows.jsonl"], cache)
    assert missing == 0 and len(rows) == 12
    model = small.model(**changes)
    sounds = {str(folder / "0.wav"): Sounds((Tag("dog", 0.0, 0.3, 0.9),), ("rain",))}
    knowledge = Knowledge(sounds, {}, {str(folder / "0.wav"): "no"}, tuple(small.LABELS))
    collator = Collator(small.processor(model.config), cache, knowledge, "")
    values = {
        "name": "talk", "kind": "language", "train": ["aligner", "lora"], "lr": {"aligner": 0.01, "lora": 0.01},
        "steps": 12, "batch_size": 6, "warmup_steps": 1, "eval_every_steps": 6, "questions_together": 2,
        "evidence": evidence or {},
    }  # fmt: skip
    stage = build(StageConfig, values, "test")
    return LanguageObjective(model, stage, rows, collator, 1), model


def test_what_a_later_stage_learns_stays_in_float32() -> None:
    model = small.model()
    set_trainable(model, ["aligner"])  # LoRA is frozen in this stage, but not in the next one
    narrow_frozen(model)
    kinds = {group_of(n): p.dtype for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n}
    assert kinds["llm"] == torch.bfloat16, "control: something is narrowed"
    assert all(p.dtype == torch.float32 for n, p in model.named_parameters() if group_of(n) != "llm")


@pytest.mark.parametrize("tied", [False, True])
def test_a_frozen_head_is_narrow_but_an_embedding_is_not(tied: bool) -> None:
    model = small.model(text_config={**small.text_config(), "tie_word_embeddings": tied})
    ids = torch.arange(5, 13)[None]

    def said() -> torch.Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits

    before = said()
    narrow_frozen(model)
    assert model.lm_head.weight.dtype == (torch.float32 if tied else torch.bfloat16)
    assert model.get_input_embeddings().weight.dtype == torch.float32
    assert torch.equal(said(), before)
    model.get_input_embeddings().to(torch.bfloat16)  # the control
    assert not torch.equal(said(), before)


def test_the_loss_is_the_models_own(tmp_path: Path) -> None:
    """Reading what a bundle shares once equals the stock forward over every row whole, in loss and in gradient."""
    objective, model = _language(tmp_path, {"tags": 0.0, "transcript": 0.0})
    names = set_trainable(model, ["aligner", "lora"])
    model.eval()
    batch = objective.batch(0)
    bundles = [[objective.train[i] for i in b] for b in objective.batches[0]]
    assert max(len(b) for b in bundles) > 1, "control: something is shared"
    each, where, _ = objective._token_losses(batch, 0.0)
    each.sum().backward()
    shared = {n: p.grad.clone() for n, p in names.items() if p.grad is not None}
    model.zero_grad()
    total = 0.0
    for index, row in enumerate(r for b in bundles for r in b):
        alone = whole(objective, row)
        loss = model(**alone).loss
        answered = int((alone["labels"] != -100).sum())
        assert float(each[where == index].mean()) == pytest.approx(float(loss), abs=1e-5)
        (loss * answered).backward()
        total += float(loss) * answered
    assert total == pytest.approx(float(each.sum()), abs=1e-4)
    for name, grad in shared.items():
        torch.testing.assert_close(grad, names[name].grad, atol=1e-5, rtol=1e-4)
    assert any(float(g.abs().max()) > 1e-4 for n, g in shared.items() if "aligner" in n), "control: audio matters"
    swapped = replace(batch, owner=batch.owner.flip(0))  # control: questions read after another recording
    with torch.no_grad():
        assert float(objective._token_losses(swapped, 0.0)[0].mean()) != pytest.approx(float(each.mean()), abs=1e-5)


def whole(objective: Any, row: Row) -> dict[str, torch.Tensor]:
    """Inputs and labels of one row, unsplit."""
    collator, seed = objective.collator, rng_for(1)
    encoded = collator.encode(row, EvidenceConfig(0.0, 0.0, 0.0), seed)
    ids = torch.tensor([encoded.ids])
    heard, inputs = collator._audio([row])
    labels = ids.masked_fill(~torch.tensor([encoded.answer]), -100)
    mask = torch.ones_like(ids)
    return {**inputs, **as_inputs(heard), "input_ids": ids, "attention_mask": mask, "labels": labels}


def test_rows_read_a_few_at_a_time_are_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objective, model = _language(tmp_path, {"tags": 0.0, "transcript": 0.0})
    model.eval()
    batch = objective.batch(0)
    assert len(batch.owner) > 3 and len(batch.alike(2)) > 1, "control: there is something to split"
    found = []
    for most in (2, 100):
        monkeypatch.setitem(language.ROWS_AT_ONCE, "cpu", most)
        with torch.no_grad():
            each, where, hit = objective._token_losses(batch, 0.0)
        order = torch.argsort(where, stable=True)
        found.append((each[order], where[order], hit[order]))
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)


def test_groups_of_rows_are_alike_in_length(tmp_path: Path) -> None:
    batch = _language(tmp_path)[0].batch(0)
    groups = batch.alike(2)
    assert sorted(torch.cat(groups).tolist()) == list(range(len(batch.owner)))
    longest = [int(batch.lengths[g].max()) for g in groups]
    shortest = [int(batch.lengths[g].min()) for g in groups]
    assert all(a <= b for a, b in zip(longest, shortest[1:], strict=False))


def test_only_recordings_that_the_evidence_speaks_of_are_led_astray(tmp_path: Path) -> None:
    objective, _ = _language(tmp_path)
    plain, rows = objective.collator, objective.train
    asking = [
        replace(r, messages=({"role": "user", "content": "<audio> is it a dog ?"}, *r.messages[1:])) for r in rows
    ]
    heard = Scores(torch.tensor([-9.0, 2.0, -9.0]), torch.full((1, 3), 2.0), torch.zeros(1))
    knowledge = replace(
        plain.knowledge, scores={i.path: heard for r in rows for i in r.items}, words={"dog": ["a dog", "dog"]}
    )
    collator = Collator(plain.processor, plain.cache, knowledge, "")
    always = EvidenceConfig(tags=0.0, asked=1.0, transcript=0.0, wrong=0.0, astray=1.0)
    bundles = [[row] for row in [*asking[:3], *rows[:3]]]
    astray = collator.batch(bundles, always, rng_for(1)).astray
    assert (astray[:3] > 0).all() and not astray[3:].any()
    assert not collator.batch(bundles, replace(always, astray=0.0), rng_for(1)).astray.any()
    assert not collator.batch(bundles, replace(always, asked=0.0), rng_for(1)).astray.any()


def test_only_answers_and_their_end_are_learned(tmp_path: Path) -> None:
    objective, _ = _language(tmp_path)
    batch = objective.batch(1)
    tokenizer = objective.collator.processor.tokenizer
    for row in batch.labels:
        said = tokenizer.decode([i for i in row.tolist() if i != -100]).split()
        assert said[0] == "a" and said[1] in small.LABELS and said[2:] == ["<|im_end|>"]


def test_the_language_stage_learns_and_resumes(tmp_path: Path) -> None:
    objective, model = _language(tmp_path)
    names = set_trainable(model, objective.stage.train)
    stage = Stage(model, names, objective.stage, objective, tmp_path / "run", Log(tmp_path / "log.jsonl"), 1, 1e9)
    (tmp_path / "run").mkdir()
    assert stage.run(Stop())
    rows = [json.loads(x) for x in (tmp_path / "log.jsonl").read_text().splitlines()]
    checks = [r for r in rows if r.get("validation")]
    assert checks[-1]["score"] > checks[0]["score"]
    assert {"loss_label_bare", "right_kind_told"} <= set(checks[-1])
    assert all(s["said"] is not None for r in rows for s in r.get("samples", []))
    best = load_file(tmp_path / "run" / "stages" / "talk-best" / "model.safetensors")
    assert best.keys() == learned_state(model).keys()


def test_evidence_is_given_as_often_as_asked(tmp_path: Path) -> None:
    objective, _ = _language(tmp_path)
    collator, row = objective.collator, objective.train[0]
    decode = collator.processor.tokenizer.decode
    told = decode(collator.encode(row, EvidenceConfig(tags=1.0, transcript=1.0, wrong=0.0), rng_for(1)).ids)
    bare = decode(collator.encode(row, EvidenceConfig(tags=0.0, transcript=0.0, wrong=0.0), rng_for(1)).ids)
    assert "dog" in told and " no" in told and "dog" not in bare and " no" not in bare
    seen = [
        len(collator.encode(row, EvidenceConfig(tags=0.5, transcript=0.0, wrong=0.0), rng_for(i)).ids)
        > len(collator.encode(row, EvidenceConfig(tags=0.0, transcript=0.0, wrong=0.0), rng_for(i)).ids)
        for i in range(60)
    ]
    assert 15 <= sum(seen) <= 45
    misled = EvidenceConfig(tags=1.0, transcript=0.0, wrong=1.0)
    wrong = [decode(collator.encode(row, misled, rng_for(i)).ids) for i in range(20)]
    assert any("rain" in w or "bell" in w.split("Audio")[1].split("user")[0][20:] for w in wrong)


def test_a_question_is_told_of_the_sounds_that_it_names(tmp_path: Path) -> None:
    objective, _ = _language(tmp_path)
    plain, row = objective.collator, objective.train[0]
    row = replace(row, messages=({"role": "user", "content": "<audio> is it a dog ?"}, *row.messages[1:]))
    heard = Scores(torch.tensor([-9.0, 2.0, -9.0]), torch.full((1, 3), 2.0), torch.zeros(1))
    scores = {i.path: heard for i in row.items}
    knowledge = replace(plain.knowledge, scores=scores, words={"dog": ["a dog", "dog"]})
    collator = Collator(plain.processor, plain.cache, knowledge, "")
    silent, asked = (EvidenceConfig(tags=0.0, asked=a, transcript=0.0, wrong=0.0) for a in (0.0, 1.0))
    words = collator.processor.tokenizer.decode(collator.encode(row, asked, rng_for(1)).ids).split()
    before = collator.processor.tokenizer.decode(collator.encode(row, silent, rng_for(1)).ids).split()
    assert words.count("dog") == before.count("dog") + 1, "once more, in the words of the question"
    assert plain.encode(row, asked, rng_for(1)).ids == plain.encode(row, silent, rng_for(1)).ids, "control: no words"


def test_the_schedule_shows_every_row_before_any_twice(tmp_path: Path) -> None:
    objective, _ = _language(tmp_path)
    rows = objective.train
    plan = Schedule(rows, {"label": 1.0}, "k")
    drawn = [i for batch in plan.batches(5, 3) for (i,) in batch]
    assert {rows[i].task for i in drawn} == {"label"} and len(drawn) == 15
    counts = [drawn.count(i) for i in set(drawn)]
    assert max(counts) - min(counts) <= 1 and len(counts) == sum(r.task == "label" for r in rows)
    again, other = Schedule(rows, {}, "k").batches(4, 3), Schedule(rows, {}, "other").batches(4, 3)
    assert again == Schedule(rows, {}, "k").batches(4, 3) != other


def test_bundles_share_their_recordings(tmp_path: Path) -> None:
    objective, _ = _language(tmp_path)
    rows = objective.train
    bundles = [b for batch in Schedule(rows, {}, "k").batches(6, 6, 3) for b in batch]
    assert max(len(b) for b in bundles) > 1, "control: some rows are about one recording"
    for bundle in bundles:
        assert len(set(bundle)) == len(bundle) <= 3
        assert len({rows[i].key for i in bundle}) == 1
    only = [b for batch in Schedule(rows, {"label": 1.0}, "k").batches(6, 6, 3) for b in batch]
    assert {rows[i].task for b in only for i in b} == {"label"}


def test_a_recording_after_the_question_is_not_shared(tmp_path: Path) -> None:
    objective, _ = _language(tmp_path)
    row = objective.train[0]
    later = replace(row, id="later", messages=({"role": "user", "content": "What?<audio>"}, *row.messages[1:]))
    assert companions([row, later]) == {row.key: [0], ("later",): [1]}


SCHEMES = (("prefix", 0), ("delayed", 1), ("keys_values", 1), ("hybrid", 1), ("cross_attention", 1))


@pytest.mark.parametrize(("scheme", "layer"), SCHEMES)
def test_every_scheme_learns_in_bfloat16_what_it_learns_in_float32(tmp_path: Path, scheme: str, layer: int) -> None:
    branch = {**(small.config().branches or [{}])[0], "fusion": {"scheme": scheme, "start_layer": layer}}
    objective, model = _language(tmp_path, branches=[branch])
    set_trainable(model, ["aligner", "lora"])
    losses = []
    for narrow in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            torch.manual_seed(0)
            loss, _ = objective.loss(objective.batch(0))
        loss.backward()
        losses.append(float(loss))
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1], "the control: it was another precision"
