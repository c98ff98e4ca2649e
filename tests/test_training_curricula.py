"""Curricula: what a configuration may say, which rows make a batch, published stage tables, runs on paper."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import LlamaConfig
from typer.testing import CliRunner

from alm.errors import ConfigError
from alm.modeling import AudioHearing
from alm.processing import AlmFeatureExtractor
from data_prep.records import Message, Record
from data_prep.shards import ShardSettings, write_shards
from tests import training_helpers as small
from tests.training_processes import language_run
from training import paper
from training.cli import app
from training.config import LoraSettings, RunConfig, StageConfig, load_config
from training.explain import configurations, documented, explain
from training.features import Extractor, FeatureCache, Item, collate
from training.groups import set_trainable
from training.language import LanguageObjective
from training.live import LiveFeatures
from training.loop import Log, Stage, Stop, rate
from training.mixing import in_mix, planned, told
from training.models import Ear
from training.rows import Row, load_rows, rows_of
from training.typed import build
from training.watching import Curves

PUBLISHED = Path(__file__).parent.parent / "training" / "configs" / "published"
CURRICULA = sorted(PUBLISHED.glob("*.yaml"))


def stage(**changes: Any) -> StageConfig:
    values = {"name": "s", "kind": "language", "train": ["lora"], "lr": {"lora": 0.1}, "batch_size": 4, **changes}
    return build(StageConfig, values, "test")


def rows(count: int = 40) -> list[Row]:
    """Rows of two tasks, one three times as many as the other, of unequal lengths."""
    made = []
    for i in range(count):
        item = Item(f"{i}.wav", 0, 0, str(i), 1.0 + i % 5, 1, {})
        task, messages = "few" if i % 4 == 0 else "many", ({"role": "user", "content": ""},)
        made.append(Row(str(i), task, "s", "train", messages, (item,), 20 + 3 * (i % 7)))
    return made


# --- configuration ---


def test_every_field_says_what_it_means() -> None:
    for path, kind in configurations():
        silent = {f.name for f in fields(kind)} - set(documented(kind))
        assert not silent, f"{path}: {silent}"
    text = "\n".join(explain())
    assert "batch_seconds (float, default 0.0)" in text and "stages[].evidence" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "one of them must be above 0"),
        ({"steps": 2, "epochs": 1}, "one of them must be above 0"),
        ({"steps": 1, "schedule": "square"}, "schedule is 'square'"),
        ({"steps": 1, "draw": "all"}, "draw is 'all'"),
        ({"steps": 1, "final_lr": 2.0}, "final_lr is 2.0"),
        ({"steps": 1, "batch_tokens": -1}, "batch_tokens is -1; it must be at least 0"),
        ({"epochs": 2}, "epochs is 2, which counts rows, .* write draw: rows"),
        ({"steps": 1, "kind": "align", "batch_seconds": 1.0}, "belong to stages of kind 'language'"),
        ({"steps": 1, "lr": {"lora": "1e-3"}}, "lr.lora must be float, not '1e-3'"),
    ],
)
def test_impossible_stages_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stage(**changes)


def test_shards_and_a_cache_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="cache: ''"):
        build(RunConfig, {"preset": "tiny", "stages": [], "data": {"shards": ["a"], "cache": "b"}}, "test")


def test_rates_fall_as_the_schedule_says() -> None:
    line = stage(steps=110, warmup_steps=10, schedule="linear", final_lr=0.0)
    assert [rate(i, line) for i in (9, 10, 60, 110)] == pytest.approx([1.0, 1.0, 0.5, 0.0])
    level = stage(steps=110, warmup_steps=10, schedule="constant")
    assert rate(5, level) == pytest.approx(0.6) and rate(109, level) == 1.0


# --- batches ---

ASKING = ({"role": "user", "content": "<audio>what?"},)


def flat(batches: list[list[list[int]]]) -> list[int]:
    return [i for batch in batches for bundle in batch for i in bundle]


def test_an_epoch_shows_every_row_once() -> None:
    shown = flat(planned(rows(), stage(epochs=2, draw="rows"), "k"))
    assert np.bincount(shown).tolist() == [2] * 40
    assert flat(planned(rows(), stage(epochs=2, draw="rows"), "other")) != shown, "another key, another order"
    assert sorted(flat(planned(rows(), stage(epochs=1, draw="rows", tasks={"few": 2.5}), "k"))) != list(range(40))
    weighed = np.bincount(flat(planned(rows(), stage(epochs=1, draw="rows", tasks={"few": 2.5}), "k")), minlength=40)
    assert weighed.sum() == in_mix(rows(), stage(epochs=1, draw="rows", tasks={"few": 2.5})) == 25
    assert set(weighed[::4]) == {2, 3} and not weighed[1::4].any()


def test_an_epoch_shows_every_row_once_where_questions_share_a_recording() -> None:
    heard = [(replace(r.items[0], path=f"{i // 5}.wav"),) for i, r in enumerate(rows())]
    own = [replace(r, items=items, messages=ASKING) for r, items in zip(rows(), heard, strict=True)]
    together = planned(own, stage(epochs=2, draw="rows", batch_size=12, questions_together=4), "k")
    assert np.bincount(flat(together)).tolist() == [2] * 40
    assert all(len({own[i].key for i in bundle}) == 1 for batch in together for bundle in batch)
    assert {len(bundle) for batch in together for bundle in batch} == {1, 4}, "five questions a recording"
    assert max(sum(map(len, batch)) for batch in together) > 8, "batches are filled with rows, not with bundles"
    half = planned(own, stage(epochs=0.5, draw="rows", batch_size=12, questions_together=4), "k")
    assert len(flat(half)) == 20
    steps = planned(own, stage(steps=9, draw="rows", batch_size=12, questions_together=4), "k")
    assert len(steps) == 9


def test_a_stage_tells_what_it_shows_and_what_is_not_there() -> None:
    mix = stage(steps=5, tasks={"few": 1.0, "manny": 5.0})
    shown, lacking = told(rows(), mix, planned(rows(), mix, "k"))
    assert shown == "5 batches of 4.0 rows; few 100% of 10 rows"
    assert lacking == "no rows of manny, which `tasks` names; there are few, many"
    whole = stage(epochs=1, draw="rows")
    assert list(told(rows(), whole, planned(rows(), whole, "k"))) == [
        "10 batches of 4.0 rows; many 75% of 30, few 25% of 10 rows"
    ]


def test_batches_keep_to_tokens_and_seconds() -> None:
    own = rows()
    for batch in planned(own, stage(epochs=1, draw="rows", batch_size=16, batch_tokens=150), "k"):
        assert max(own[i].length for b in batch for i in b) * len(batch) <= 150
    for batch in planned(own, stage(epochs=1, draw="rows", batch_size=16, batch_seconds=9.0), "k"):
        assert max(own[i].items[0].seconds for b in batch for i in b) * len(batch) <= 9.0
    loose = planned(own, stage(epochs=1, draw="rows", batch_size=16), "k")
    assert max(len(b) for b in loose) == 16, "control: without a limit they are larger"
    exact = planned(own, stage(steps=7, batch_size=16, batch_tokens=150), "k")
    assert len(exact) == 7
    with pytest.raises(ConfigError, match=r"row '\d+' .*batch_tokens is 30"):
        planned(own, stage(steps=1, batch_tokens=30), "k")
    with pytest.raises(ConfigError, match=r"no training rows of its tasks \(none\); they have few, many"):
        planned(own, stage(steps=1, tasks={"none": 1.0}), "k")


# --- published curricula ---


@pytest.mark.parametrize("file", CURRICULA, ids=lambda f: f.stem)
def test_published_curricula_load(file: Path) -> None:
    config = load_config(file)
    assert build(RunConfig, json.loads(json.dumps(config.to_dict())), "json") == config
    assert file.read_text().startswith("# "), "it says where its numbers are from"


def test_the_steps_of_ltu_are_the_published_ones() -> None:
    config = load_config(PUBLISHED / "ltu.yaml")
    steps = [paper._steps(s) for s in config.stages]
    assert [round(s, -2) for s in steps] == [9300, 9300, 7500, 22200]


@pytest.mark.slow
@pytest.mark.parametrize("file", CURRICULA, ids=lambda f: f.stem)
def test_published_curricula_run_on_paper(file: Path) -> None:
    config = load_config(file)
    lines = list(paper.report(config, "8xh100"))
    assert len([line for line in lines if " learn, " in line]) == len(config.stages)
    assert sum(line.startswith("together ") for line in lines) == 1
    if "7b" in file.stem or file.stem in ("ltu", "gama"):
        assert 6500 < paper.measure(config).groups["llm"] / 1e6 < 8100


@pytest.mark.slow
@pytest.mark.parametrize("file", [f for f in CURRICULA if not f.stem.startswith("recipe")], ids=lambda f: f.stem)
def test_published_curricula_run_at_toy_size(file: Path, tmp_path: Path) -> None:
    """Their stages, schemes, groups and rates on a random model and twelve made-up rows."""
    config = load_config(file)
    scheme = config.model["branches"][0]["fusion"]["scheme"]
    first, model = language_run(tmp_path, scheme=scheme, start=0 if scheme == "prefix" else 1)
    objective: Any = first.objective
    for number, one in enumerate(s for s in config.stages if s.kind == "language"):
        groups = tuple(g for g in one.train if g != "encoder")  # features are cached
        toy = replace(one, train=groups, steps=2, epochs=0.0, batch_size=4, tasks={}, records=(), eval_every_steps=2,
                      eval_rows=2, samples=0, warmup_steps=1)  # fmt: skip
        made = LanguageObjective(model, toy, [*objective.train, *objective.dev], objective.collator, 1)
        names = set_trainable(model, groups)
        before = {n: p.detach().clone() for n, p in names.items()}
        log = Log(tmp_path / f"{number}.jsonl")
        assert Stage(model, names, toy, made, tmp_path / "run", log, 1, 1e9).run(Stop())
        for group in set(groups) - {"entry"}:
            moved = [n for n, p in names.items() if not torch.equal(p, before[n])]
            assert moved, f"stage {one.name}: {group} does not learn"


# --- on paper ---


def test_a_model_on_paper_has_the_parameters_of_the_real_one() -> None:
    made = small.model(lora=True)
    text = made.config.text_config
    real = {n: sum(p.numel() for p in m.parameters()) for n, m in (
        ("encoder", made.model.hearing.encoders), ("aligner", made.model.hearing.aligners))}  # fmt: skip
    values = {
        "preset": "tiny", "stages": [], "data": {}, "lora": {"rank": 2}, "base": {"text_config": text.to_dict()},
        "model": {"encoders": made.config.encoders, "branches": made.config.branches},
    }  # fmt: skip
    sizes = paper.measure(build(RunConfig, values, "test"))
    assert {n: sizes.groups[n] for n in real} == real
    assert sizes.groups["lora"] == sum(p.numel() for n, p in made.named_parameters() if ".lora_" in n)
    own = sum(p.numel() for n, p in made.model.language_model.named_parameters() if ".lora_" not in n)
    assert sizes.groups["llm"] == own + (0 if text.tie_word_embeddings else made.lm_head.weight.numel())


@pytest.mark.slow
def test_kept_bytes_grow_with_width_and_less_is_kept_in_half_precision() -> None:
    def kept(width: int, lora: LoraSettings | None = None, half: bool = False) -> float:
        text = LlamaConfig(hidden_size=width, intermediate_size=3 * width, num_attention_heads=4, num_key_value_heads=2)
        return paper.kept_bytes(text, lora, half).token

    assert kept(1024) == pytest.approx(2 * kept(512), rel=0.05)
    assert kept(64, half=True) < 0.7 * kept(64)
    assert kept(64, LoraSettings(rank=2)) > kept(64)


@pytest.mark.parametrize("wrong", ["h1000", "0xh100", "axh100", "8h100"])
def test_cards_that_nobody_makes_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="must be one of"):
        paper.cards(wrong)
    assert paper.cards("8xh100")[0] == 8 and paper.cards("a100")[1].gib == 80


# --- features on the fly, shards ---


@pytest.fixture
def ear() -> Ear:
    torch.manual_seed(0)
    settings = small.config()
    return Ear(AudioHearing(settings).eval().requires_grad_(False), AlmFeatureExtractor.of(settings), "digest")


def test_features_on_the_fly_are_the_cached_ones(tmp_path: Path, ear: Ear) -> None:
    rng = np.random.default_rng(0)
    for name, seconds in (("a", 0.7), ("b", 2.9), ("c", 30.0)):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * rng.standard_normal(int(16_000 * seconds)), 16_000)
    paths = [tmp_path / f"{n}.wav" for n in "abc"]
    Extractor(ear, tmp_path / "cache", 3).run(paths)
    cache, live = FeatureCache(tmp_path / "cache"), LiveFeatures(ear, 3)
    assert live.frame_seconds == cache.frame_seconds
    for path in paths[:2]:
        item, kept = live.find(path), cache.find(path)
        assert item is not None and kept is not None and item.windows == kept.windows
        heard, known = (collate([c.read(i)], cache.frame_seconds)["ear"] for c, i in ((live, item), (cache, kept)))
        assert torch.equal(heard.mask, known.mask)
        assert torch.allclose(heard.hidden, known.hidden, atol=2e-3)
        assert not torch.allclose(heard.hidden, known.hidden.roll(1, 2), atol=2e-3), "control"
    assert live.find(paths[2]) is None and "max_windows is 3" in live.refused[str(paths[2])]
    assert live.find(tmp_path / "none.wav") is None


def test_rows_come_out_of_shards_with_their_audio(tmp_path: Path, ear: Ear) -> None:
    rng, records = np.random.default_rng(0), []
    for number in range(4):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(8000 + 3200 * number), 16_000)
        turns = (Message("user", "<audio>what is it ?"), Message("assistant", "a dog"))
        records.append(Record(f"r{number}", turns, (str(path),), "s", "label", "train", "CC0", 0.5 + 0.2 * number))
    write_shards(records, tmp_path / "shards", ShardSettings())
    live = LiveFeatures(ear, 3)
    made, missing = rows_of(live.records([str(tmp_path / "shards")]), live)
    assert missing == 0 and {r.id for r in made} == {r.id for r in records}
    for row in made:
        assert row.items[0].seconds == pytest.approx(0.5 + 0.2 * int(row.id[1]), abs=0.01)
        direct = live.find(tmp_path / f"{row.id[1]}.wav")
        assert direct is not None
        own, other = live.read(row.items[0]).hidden["ear"], live.read(direct).hidden["ear"]
        assert torch.allclose(own.float(), other.float(), atol=2e-3), "the right recording, not a neighbour's"


def test_rows_of_files_are_still_those_of_the_cache(tmp_path: Path) -> None:
    stage_of_run, _ = language_run(tmp_path)
    objective: Any = stage_of_run.objective
    again, missing = load_rows([tmp_path / "rows.jsonl"], objective.collator.cache)
    assert missing == 0 and len(again) == 12


# --- watching, command ---


def test_curves_hold_losses_validations_and_answers(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = Curves(tmp_path)
    for step in range(1, 4):
        curves.step("listen", step, 3, 1.0 / step)
    curves.line({"stage": "listen", "step": 3, "validation": True, "score": 0.5})
    curves.line({"stage": "listen", "step": 3, "samples": [{"asked": "what?", "wanted": "a", "said": "b"}]})
    found = EventAccumulator(str(tmp_path / "listen"))
    found.Reload()
    assert [e.value for e in found.Scalars("loss")] == pytest.approx([1.0, 0.5, 1 / 3])
    assert [e.value for e in found.Scalars("validation/score")] == [0.5]
    assert "answers/0/text_summary" in found.Tags()["tensors"]


@pytest.mark.slow
def test_watching_changes_no_weight(tmp_path: Path) -> None:
    weights = []
    for name, listeners in (("plain", ()), ("watched", (Curves(tmp_path / "tb"),))):
        (tmp_path / name).mkdir()
        run, model = language_run(tmp_path / name, steps=2)
        run.log = Log(run.log.path, listeners=listeners)
        assert run.run(Stop())
        weights.append({n: p.clone() for n, p in model.named_parameters()})
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])


def test_the_command_takes_a_configuration_for_run_and_explains() -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["--explain"])
    assert done.exit_code == 0 and "stages[].augment" in done.stdout
    refused = runner.invoke(app, ["nowhere.yaml", "--dry-run"])
    assert isinstance(refused.exception, ConfigError) and "nowhere.yaml" in str(refused.exception)
    unknown = runner.invoke(app, ["nowhere"])
    assert unknown.exit_code == 2, "control: another word is no command"


def test_on_paper_memory_options_save_memory_and_what_does_not_fit_is_not_counted() -> None:
    config = load_config(CURRICULA[0].parent / "recipe-llama-3.1-8b.yaml")
    sizes, last = paper.measure(config), config.stages[-1]
    one = next(s for s in config.stages if "lora" in s.train)
    config = replace(config, stages=(one, last))
    plain = paper.cost(sizes, one, config)
    saving = replace(one, gradient_checkpointing=True)
    again = paper.cost(sizes, saving, replace(config, stages=(saving,)))
    assert again.kept == plain.kept_again < plain.kept and again.operations > plain.operations
    small = paper.cost(sizes, one, replace(config, stages=(one,), quantise="nf4"))
    assert small.weights < plain.weights - 8e9, "7 billion weights of 4.5 bits instead of 16"
    lines = list(paper.report(config, "1x4090"))
    assert any(line.startswith("not in that: ") and last.name in line for line in lines)
    assert not any(line.startswith("not in that") for line in paper.report(replace(config, stages=(one,)), "8xh100"))
