"""Engines by name. Nothing heavy is imported before one is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alm.terminal import working

if TYPE_CHECKING:
    from alm.assistant import Assistant
    from serve.engines.jobs import Engine

ENGINE_HELP = "What decodes; vllm has an environment of its own (make env-vllm)."


def check_engine(name: str) -> None:
    """Before a model is loaded. Raises: ConfigError if the engine is not installed."""
    if name == "vllm":
        from serve.engines.vllm_start import ensure_vllm

        ensure_vllm()


def start_engine(
    name: str,
    assistant: Assistant,
    rows: int,
    most_waiting: int,
    cache_gigabytes: float = 1.0,
    a_batch: bool = False,
) -> Engine:
    """
    Args:
        a_batch: all answers count, not the first one or a next turn.
    """
    if name == "vllm":
        from serve.engines.vllm import VllmEngine
        from serve.engines.vllm_start import VllmSettings

        with working("starting vLLM"):
            return VllmEngine(assistant, VllmSettings(rows, cache_gigabytes), most_waiting)
    from serve.engines.transformers import TransformersEngine

    return TransformersEngine(assistant, rows, most_waiting, a_batch)
