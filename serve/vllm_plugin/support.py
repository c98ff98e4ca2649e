"""Which models vLLM can serve: what its paged attention cannot do is refused when the model is loaded."""

from __future__ import annotations

from alm.configuration import AlmConfig
from alm.errors import ConfigError

DECODERS = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
"""vLLM's class for each kind of language model whose layers take `(positions, hidden, residual)` and nothing else."""
HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""What vLLM's attention on CPUs takes; its attention on GPUs takes these too, up to 256."""


def check(config: AlmConfig) -> None:
    """
    Raises:
        ConfigError: the model cannot be served with vLLM as it was trained.
    """
    kind = config.text_config.model_type  # type: ignore[union-attr]
    if kind not in DECODERS:
        raise ConfigError(
            f"the language model is of the kind {kind!r}; with vLLM {', '.join(DECODERS)} are served. "
            "Use the transformers engine"
        )
    for index, branch in enumerate(config.branch_configs):
        if branch.fusion.scheme == "cross_attention":
            raise ConfigError(
                f"branch {index} has fusion.scheme 'cross_attention': vLLM has no place for keys and values outside "
                "the prompt in a model of this kind. Use the transformers engine"
            )
        if branch.aligner.question_aware:
            raise ConfigError(
                f"branch {index} has a question-aware aligner: vLLM keeps audio tokens by recording alone, so that "
                "another question would get them. Use the transformers engine"
            )


def padded_head(size: int) -> int:
    """The next head size with room for one more channel.

    Raises:
        ConfigError: there is none.
    """
    wider = [s for s in HEAD_SIZES if s > size]
    if not wider:
        raise ConfigError(
            f"the heads have {size} channels and early_audio is 'absent', which needs one more; vLLM takes at most "
            f"{HEAD_SIZES[-1]}. Use the transformers engine"
        )
    return wider[0]
