"""Whole runs with the default preset: 4-bit weights, encoders that learn, and one merged checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMultimodalLM, AutoProcessor

import alm
import alm.auto
from alm.errors import CheckpointError
from tests.test_training_run import _config, _corpus
from training.config import EncoderAdapters, EvidenceConfig, RunConfig
from training.export import write_adapter, write_merged
from training.features import Extractor
from training.groups import set_trainable
from training.models import find_base, make_ear
from training.objective import rng_for
from training.run import Run, recordings

pytestmark = [pytest.mark.slow, pytest.mark.weights, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, Path]:
    folder = tmp_path_factory.mktemp("corpus")
    _corpus(folder)
    config = _config(folder)
    bare = EvidenceConfig(tags=0.0, asked=0.0, transcript=0.0, wrong=0.0)  # the heads that it wants take minutes
    config = replace(config, stages=(config.stages[0], replace(config.stages[1], evidence=bare)))
    extractor = Extractor(make_ear(config, find_base(config)), Path(config.data.cache), config.data.max_windows)
    for group in recordings(config.data, ["train", "dev"]):
        extractor.run(group, lambda report, total: None)
    return config, folder


def _stage(config: RunConfig, **changes: Any) -> RunConfig:
    """The run with another second stage."""
    return replace(config, stages=(config.stages[0], replace(config.stages[1], **changes)))


def _saying(model: Any, processor: Any, recording: Path) -> torch.Tensor:
    content = [{"type": "audio", "audio": str(recording)}, {"type": "text", "text": "What is it?"}]
    inputs = processor.apply_chat_template([{"role": "user", "content": content}])
    with torch.no_grad():
        logits: torch.Tensor = model(**inputs).logits
    return logits[0, -1]


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_lora_learns_on_quantised_weights_and_fits_the_plain_ones(
    corpus: tuple[RunConfig, Path], tmp_path: Path, kind: str
) -> None:
    config = replace(corpus[0], quantise=kind)
    run = Run(config, tmp_path / "run", lambda text: None)
    assert run.go()
    layer = run.parts[0].model.language_model.layers[9]
    assert layer.mlp.up_proj.weight.dtype in (torch.uint8, torch.int8), "control: the matrices are small"
    assert any(float(p.detach().abs().max()) > 0 for n, p in layer.named_parameters() if "lora_B" in n), "LoRA learned"
    write_adapter(config, tmp_path / "run", tmp_path / "adapter")
    trained, plain = run.parts[0].state_dict(), alm.load("tiny", adapter=tmp_path / "adapter").model.state_dict()
    factors = [n for n in trained if "lora_B" in n]
    assert factors and all(torch.equal(trained[n].half().float(), plain[n].float()) for n in factors)


def test_the_merged_folder_says_what_the_adapter_says(corpus: tuple[RunConfig, Path], tmp_path: Path) -> None:
    config, folder = corpus
    config = replace(config, lora=replace(config.lora, dora=True))
    run = Run(config, tmp_path / "run", lambda text: None)
    assert run.go()
    write_adapter(config, tmp_path / "run", tmp_path / "adapter")
    write_merged(config, tmp_path / "run", tmp_path / "merged")
    assert len(list((tmp_path / "merged").glob("*.safetensors"))) == 1
    plain = AutoModelForMultimodalLM.from_pretrained(tmp_path / "merged")
    processor = AutoProcessor.from_pretrained(tmp_path / "merged")
    assistant = alm.load("tiny", adapter=tmp_path / "adapter")
    said = _saying(plain, processor, folder / "0.wav")
    torch.testing.assert_close(said, _saying(assistant.model, processor, folder / "0.wav"), atol=0.05, rtol=0.01)
    bare = alm.load("tiny", adapter=False)
    assert not torch.allclose(said, _saying(bare.model, processor, folder / "0.wav"), atol=0.5), "control"
    with pytest.raises(CheckpointError, match="holds files"):
        write_merged(config, tmp_path / "run", tmp_path / "merged")


def test_encoders_that_learn_hear_anew_and_leave_as_one_folder(
    corpus: tuple[RunConfig, Path], tmp_path: Path
) -> None:
    config, folder = corpus
    changes = {"train": ("encoder_adapter", "llm"), "lr": {"encoder_adapter": 0.01, "llm": 0.0001}, "batch_size": 2}
    config = _stage(replace(config, encoder_adapters=EncoderAdapters("lora", ("whisper",))), **changes)
    run = Run(config, tmp_path / "run", lambda text: None)
    assert run.go()
    with pytest.raises(CheckpointError, match="export with --merge"):
        write_adapter(config, tmp_path / "run", tmp_path / "adapter")
    write_merged(config, tmp_path / "run", tmp_path / "merged")
    plain = AutoModelForMultimodalLM.from_pretrained(tmp_path / "merged")
    processor = AutoProcessor.from_pretrained(tmp_path / "merged")
    trained = run.parts[0].eval()
    torch.testing.assert_close(
        _saying(plain, processor, folder / "0.wav"), _saying(trained, processor, folder / "0.wav"), atol=1e-3, rtol=1e-3
    )
    base = alm.load("tiny", adapter=False).model
    name = "model.hearing.encoders.whisper.encoder.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(plain.state_dict()[name], base.state_dict()[name])


def test_what_encoders_hear_is_what_was_cached(corpus: tuple[RunConfig, Path], tmp_path: Path) -> None:
    config, _ = corpus
    listening = _stage(config, train=("encoder",), lr={"encoder": 0.001})
    losses = []
    for number, settings in enumerate((config, listening)):
        (tmp_path / str(number)).mkdir()
        run = Run(settings, tmp_path / str(number), lambda text: None)
        objective: Any = run.objective(settings.stages[1])
        set_trainable(run.parts[0], ["aligner"])
        run.parts[0].eval()
        rows = objective.train[:4]
        batch = objective.collator.batch([[r] for r in rows], settings.stages[1].evidence, rng_for(1))
        assert bool(batch.heard) != settings.hears_anew(settings.stages[1])
        with torch.no_grad():
            losses.append(float(objective.loss(batch)[0]))
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)  # the cache is float16
