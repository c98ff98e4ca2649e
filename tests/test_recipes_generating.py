"""A recipe with `use: generate`, built against a real server whose writer follows a script."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from data_prep_toys import toy_store
from generation_server import Script, serving
from shards_toys import tree

from alm.endpoints import Endpoint
from alm.errors import AlmError, ConfigError
from data_prep.recipes.running import run_recipe
from data_prep.shards import ShardStream

RECIPE = """
recipe: 1
name: written
seed: 3
steps:
  - use: source
    source: corpus
    at: corpus
    limit: 12
  - use: generate
    endpoint: {endpoint}
    model: double
    plan: {{kinds: [aig, captions], per_sample: {per_sample}, budget: {{most_requests: {most}}}}}
    splits: [train]
  - use: check
  - use: shards
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    toy_store(folder / "corpus")
    return folder


def built(root: Path, out: Path, endpoint: Endpoint, per_sample: int = 2, most: int = 0) -> dict[str, Any]:
    """What the report says of the step, after a build."""
    path = out.parent / "recipe.yaml"
    path.write_text(RECIPE.format(endpoint=endpoint.url, per_sample=per_sample, most=most))
    run_recipe(path, out, root=root)
    (step,) = (s for s in json.loads((out / "report.json").read_text())["steps"] if s["use"] == "generate")
    found: dict[str, Any] = step["units"]["train"]
    return found


@pytest.mark.slow
def test_a_recipe_writes_open_ended_rows_and_asks_nothing_twice(root: Path, tmp_path: Path) -> None:
    script = Script()
    with serving(script) as endpoint:
        told = built(root, tmp_path / "a", endpoint)
        asked = script.asked.total()
        assert asked >= told["samples"] > 3 and {"aig", "captions"} == set(told["kinds"])
        assert told["records"] > told["samples"] and not any(k["failed"] for k in told["kinds"].values())
        rows = [item.record for item in ShardStream(tmp_path / "a")]
        assert {row.task for row in rows} == {"generated_aig", "generated_captions"} and len(rows) <= told["records"]
        assert all(row.meta["generated"]["writer"] == "double" for row in rows)

        script.asked.clear()
        built(root, tmp_path / "a", endpoint)
        assert not script.asked, "nothing changed"
        (unit,) = (tmp_path / "a" / ".work" / "generate").glob("train-*")
        made = tree(tmp_path / "a")
        shutil.rmtree(unit)
        built(root, tmp_path / "a", endpoint)
        assert not script.asked and tree(tmp_path / "a") == made, "what was answered is kept beside the units"

        built(root, tmp_path / "b", endpoint)
        assert script.asked.total() == asked and tree(tmp_path / "b") == made, "another folder asks anew"
        script.asked.clear()
        built(root, tmp_path / "a", endpoint, per_sample=1)
        assert script.asked, "the control: another plan asks again"


@pytest.mark.slow
def test_a_budget_and_a_server_that_is_away_stop_a_build_that_then_goes_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alm.endpoints.MOST_WAIT_SECONDS", 0.01)
    script = Script()
    with serving(script) as endpoint:
        with pytest.raises(AlmError, match="budget"):
            built(root, tmp_path / "a", endpoint, most=5)
        assert script.asked.total() == 5 and not (tmp_path / "a" / "index.json").exists()
        before = script.asked.total()
        told = built(root, tmp_path / "a", endpoint)
        assert told["records"] and script.asked.total() > before
        whole = built(root, tmp_path / "b", endpoint)
        assert whole == told and tree(tmp_path / "a") == tree(tmp_path / "b")
    with pytest.raises(ConfigError, match=r"24 questions of train got no answer, such as .*most_failed \(0\)"):
        built(root, tmp_path / "c", endpoint)
    assert not (tmp_path / "c" / "index.json").exists()
    with serving(script) as endpoint:
        assert built(root, tmp_path / "c", endpoint)["records"] == told["records"], "the control: it goes on"
