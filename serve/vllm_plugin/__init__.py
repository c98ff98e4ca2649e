"""vLLM serves the model: `vllm.general_plugins` names `register`, which vLLM calls in each of its processes.

Nothing heavy is imported before vLLM asks for the model class.
"""

from __future__ import annotations

ARCHITECTURE = "AlmForConditionalGeneration"
MODEL = "serve.vllm_plugin.model:AlmForVllm"


def register() -> None:
    """Make vLLM and transformers' `Auto` classes know the model; may be called again."""
    from vllm import ModelRegistry

    import alm.auto  # noqa: F401 - registers the configuration and the processor

    ModelRegistry.register_model(ARCHITECTURE, MODEL)
