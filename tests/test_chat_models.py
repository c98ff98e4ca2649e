"""The models that the chat page offers: names, what is known before they are loaded, loading once."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import assistant_double
import engine_double
import pytest

from alm.errors import CheckpointError, ConfigError, PresetError
from serve.chat.models import Models, Offer, Served


def test_models_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="same name"):
        engine_double.models(offers=("double", "double"))


def test_a_model_is_loaded_once(tmp_path: Path) -> None:
    loaded: list[str] = []
    double = assistant_double.Assistant()

    def start(chosen: Offer) -> Served:
        loaded.append(chosen.name)
        time.sleep(0.05)
        return Served(double, engine_double.Engine(double))  # type: ignore[arg-type]

    models = Models([engine_double.offer("first"), engine_double.offer("second")], start)
    assert loaded == ["first"]
    threads = [threading.Thread(target=models.get, args=["second"]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert loaded == ["first", "second"]
    models.close()
    assert not models.is_loaded("first")


def test_what_is_known_of_a_model_before_it_is_loaded(tmp_path: Path) -> None:
    plain = Offer.parse("tiny")
    assert (plain.name, plain.scheme, plain.context_tokens) == ("tiny", "delayed", 8192)
    assert plain.adapter is not None
    folder = tmp_path / "run one"
    folder.mkdir()
    about = json.loads((plain.adapter / "alm_adapter.json").read_text())
    about["model"]["branches"][0]["fusion"] = {"scheme": "keys_values"}
    (folder / "alm_adapter.json").write_text(json.dumps(about))
    other = Offer.parse(f"tiny:{folder}")
    assert (other.label, other.adapter) == ("tiny:run one \u00b7 keys_values", folder)
    for text, kind in (("large", PresetError), (f"tiny:{tmp_path / 'none'}", CheckpointError)):
        with pytest.raises(kind):
            Offer.parse(text)
