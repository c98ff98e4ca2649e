"""Ground of the tests: no hub, few threads, `--run-slow`, and the converted weights where they can be had."""

from __future__ import annotations

import os

# Before torch, transformers or gradio are imported anywhere.
for _name, _value in {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
}.items():
    os.environ.setdefault(_name, _value)

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("chat_browser")

if TYPE_CHECKING:
    from alm.weights import TinyWeights


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow, too")


def pytest_configure(config: pytest.Config) -> None:
    """Keep torch to one thread: two workers on two cores, and figures that do not depend on the machine."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    import torch

    slow = pytest.mark.skip(reason="slow: add --run-slow (make test-slow)")
    gpu = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if "slow" in item.keywords and not config.getoption("--run-slow"):
            item.add_marker(slow)
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(gpu)
        if "weights" in item.keywords and "weights" not in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.usefixtures("weights"))


@pytest.fixture(scope="session")
def weights() -> Iterator[TinyWeights]:
    """The default preset's converted weights, fetched and converted once into ALM_HOME.

    Skips where they cannot be had (no network, first run); with ALM_TEST_WEIGHTS=require that is a failure,
    and with ALM_TEST_WEIGHTS=off they are not asked for.
    """
    from alm.errors import WeightsError

    mode = os.environ.get("ALM_TEST_WEIGHTS", "auto")
    if mode == "off":
        pytest.skip("ALM_TEST_WEIGHTS=off")
    from alm.weights import ensure

    try:
        found = ensure("tiny")
    except WeightsError as error:
        if mode == "require":
            raise
        pytest.skip(f"weights cannot be had here: {error}")
    yield found
