"""Adapters side by side: seeds are averaged item by item, and differences are paired."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness_helpers import ScriptModel, right_text, toy
from test_eval_scoring import full_run, half_right

from alm.adapters import ABOUT
from alm.errors import ConfigError, PresetError
from bench.adapters import differences, named, page, runs_of


def test_seeds_are_averaged_and_differences_paired(tmp_path: Path) -> None:
    prepared = toy(tmp_path, 40, 8)
    adapters = {"half": [Path("a")], "better": [Path("b"), Path("c")]}
    full_run(runs_of(adapters, tmp_path, "toy", "half")[0], prepared, ScriptModel(half_right))
    always, three = runs_of(adapters, tmp_path, "toy", "better")
    full_run(always, prepared, ScriptModel())
    # Right where `half` is wrong, and on half of the rest:
    mostly = ScriptModel(lambda one: "zebra" if int(one.item.id[1:]) % 4 == 1 else right_text(one.item))
    full_run(three, prepared, mostly)
    found = differences([always, three], runs_of(adapters, tmp_path, "toy", "half"))
    assert found.value == pytest.approx((1.0 + 0.75) / 2 - 0.5) and found.source_low < found.value < found.source_high
    assert differences([always], [always]).value == 0.0, "control"
    text = page(adapters, tmp_path, ["toy"], "Title", "python -m bench.adapters ...")
    assert "| toy | 40 |" in text and "87.5 % ± 17.7 % | +37.5 (" in text and "half: 1, better: 2" in text


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    (tmp_path / ABOUT).write_text("{}")
    assert named([f"a={tmp_path}", f"a={tmp_path}"]) == {"a": [tmp_path, tmp_path]}
    with pytest.raises(ConfigError, match="NAME=FOLDER"):
        named([str(tmp_path)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no adapter"):
        named([f"a={tmp_path / 'empty'}"])
    with pytest.raises(PresetError, match="is no folder of an adapter"):
        named([f"a={tmp_path / 'other'}"])
