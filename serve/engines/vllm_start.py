"""vLLM's engine for an assistant: the checkpoint it reads, and the settings that fit our limits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alm.errors import ConfigError
from serve.vllm_plugin.support import check

if TYPE_CHECKING:
    from alm.assistant import Assistant

_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",  # vLLM tells its makers how it is used; nothing here calls anybody
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # threads run here already
}


_BLOCK = 32
"""Tokens whose keys and values are kept, or found again, together. vLLM takes 128 on CPUs: more than a whole question
about a recording, so that nothing would be shared; its kernels want multiples of 32."""


@dataclass(frozen=True)
class VllmSettings:
    """What an operator may change."""

    rows: int = 16
    """Answers that are written in step."""
    cache_gigabytes: float = 1.0
    """Room for keys and values of all requests."""
    batched_tokens: int = 2048
    """Tokens of one step; longer prompts are read in several."""
    reuse_prefixes: bool = True
    """Keys and values of earlier prompts serve later ones."""


def ensure_vllm() -> None:
    """
    Raises:
        ConfigError: vLLM is not installed here.
    """
    if find_spec("vllm") is None:
        raise ConfigError(
            "vLLM is not installed in this environment; it has one of its own: say `make env-vllm` and start "
            "`.venv-vllm/bin/alm` with the same arguments"
        )


def write_for_vllm(assistant: Assistant, folder: Path) -> None:
    """Write what vLLM loads: a plain checkpoint, LoRA merged.

    Raises:
        ConfigError: the model cannot be served with vLLM.
    """
    check(assistant.model.config)
    assistant.save_pretrained(folder)


def engine_arguments(assistant: Assistant, folder: Path, settings: VllmSettings) -> dict[str, Any]:
    """Arguments of vLLM's engines: recordings come as audio tokens, so that its workers need no encoders."""
    return dict(
        model=str(folder),
        dtype=str(assistant.model.dtype).removeprefix("torch."),
        max_model_len=min(assistant.preset_config.context_tokens, _positions(assistant)),
        max_num_seqs=settings.rows,
        max_num_batched_tokens=settings.batched_tokens,
        kv_cache_memory_bytes=int(settings.cache_gigabytes * 2**30),
        enable_prefix_caching=settings.reuse_prefixes,
        block_size=_BLOCK,
        enforce_eager=True,
        limit_mm_per_prompt={"audio": 0},
        enable_mm_embeds=True,
        skip_mm_profiling=True,
        use_tqdm_on_load=False,
        generation_config="vllm",  # nothing but what a request says
        disable_log_stats=True,
    )


def _positions(assistant: Assistant) -> int:
    return int(assistant.model.config.text_config.max_position_embeddings)  # type: ignore[union-attr]


def set_environment() -> None:
    """Defaults of vLLM's own variables, which its processes inherit."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
