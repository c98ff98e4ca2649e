"""Generated data end to end: the default preset on a real server, a run that is killed, and a CLAP model's likeness."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
import uvicorn
from generation_server import Script, serving
from structure_rules import ROOT

from alm.cli import load_assistant
from alm.endpoints import Endpoint
from alm.testing import noise
from data_prep.generation.generate import Generation
from data_prep.generation.hearing import Hearing
from data_prep.generation.kinds import KINDS
from data_prep.generation.plan import GenerationPlan, Pace
from data_prep.generation.similarity import ClapSimilarity, TagSimilarity
from data_prep.records import read_records
from data_prep.sample_files import read_samples
from data_prep.samples import Sample
from serve.api.app import create_app
from serve.api.settings import ServerSettings
from serve.engines.starting import start_engine

CHECK = ROOT / "data_prep" / "generation" / "check" / "samples.jsonl"


@pytest.fixture(scope="module")
def tiny(weights: object) -> Iterator[Endpoint]:
    """The default preset, served as `alm serve` does."""
    engine = start_engine("transformers", load_assistant("tiny", quiet=True), 4, 64)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = create_app(engine, ServerSettings("tiny"))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield Endpoint(f"http://127.0.0.1:{port}/v1", "tiny", timeout_seconds=1800.0)
    server.should_exit = True
    thread.join(10)
    engine.close()


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.timeout(1800)
def test_the_default_preset_writes_and_what_it_writes_is_checked(tiny: Endpoint, tmp_path: Path) -> None:
    """It writes little that passes; what matters is that all of it is accounted for, and the same again."""
    path = tmp_path / "0.wav"
    sf.write(path, noise(seconds=2.0).samples, 16_000)
    (one,) = (s for s in read_samples(CHECK) if s.id == "check-01")
    made = [Sample(**{**vars(one), "audio": str(path)})]
    plan = GenerationPlan(("rewrite", "captions", "descriptions"), per_sample=1)
    assistant = load_assistant("tiny", quiet=True)

    def run() -> Generation:
        generation = Generation(plan, tiny, tmp_path / "out", listener=tiny, similarity=TagSimilarity(assistant))
        generation.hear = Hearing(assistant, "tiny", generation.cache)
        return generation

    first, again = run(), run()
    records = list(first.records(made))
    counts = first.report.kinds
    assert all(c.samples == 1 and not c.failed and c.made + c.rejected.total() >= 1 for c in counts.values())
    assert first.report.spent.requests >= 6 and first.report.spent.uncounted == 0
    assert list(again.records(made)) == records and again.report.spent.requests == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_that_is_killed_goes_on(tmp_path: Path) -> None:
    rng, script = random.Random(0), Script()
    rows = [json.loads(line) for line in CHECK.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        sf.write(tmp_path / row["audio"], np.zeros(1600), 16_000)
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with serving(script) as endpoint:
        command = [sys.executable, "-m", "data_prep", "generate", str(tmp_path / "samples.jsonl"), "--model", "double",
                   "--endpoint", endpoint.url, *(w for kind in KINDS for w in ("--kind", kind))]  # fmt: skip

        def started(out: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen([*command, "--out", str(tmp_path / out)], cwd=ROOT, stderr=subprocess.DEVNULL)

        began = time.monotonic()
        assert started("whole").wait() == 0
        took, asked = time.monotonic() - began, script.asked.total()
        script.asked.clear()
        for _ in range(10):
            run = started("broken")
            time.sleep(rng.uniform(0.3, 1.0) * took)
            run.kill()
            run.wait()
        assert started("broken").wait() == 0
        whole, broken = (tmp_path / name / "records.jsonl" for name in ("whole", "broken"))
        assert broken.read_bytes() == whole.read_bytes() and len(list(read_records(whole))) > 20
        assert asked <= script.asked.total() <= asked + 10 * Pace().concurrency, "only what was open is asked again"
        assert not list((tmp_path / "broken").glob(".part-*"))


@pytest.mark.slow
def test_likeness_by_clap_is_the_cosine_of_its_embeddings(tmp_path: Path) -> None:
    from tiny_model import tokenizer
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor

    words = tokenizer()
    text = {"vocab_size": len(words), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "max_position_embeddings": 80, "projection_dim": 8}  # fmt: skip
    audio = {"depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 1], "patch_embeds_hidden_size": 8,
             "hidden_size": 64, "projection_dim": 8, "spec_size": 256, "num_mel_bins": 64}  # fmt: skip
    torch.manual_seed(0)
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=8)).eval()
    extractor = ClapFeatureExtractor(feature_size=64, truncation="rand_trunc", padding="repeatpad")
    model.save_pretrained(tmp_path / "clap")
    ClapProcessor(extractor, words).save_pretrained(tmp_path / "clap")
    sf.write(tmp_path / "0.wav", noise(seconds=1.0).samples, 16_000)
    one = Sample("a", str(tmp_path / "0.wav"), "toy", "train", "CC0-1.0")
    like = ClapSimilarity(tmp_path / "clap")
    found = like(one, "a dog")
    assert found is not None and -1.0 <= found <= 1.0 and like(one, "a dog") == found != like(one, "rain falls")
