"""vLLM serves the model: `vllm.general_plugins` names `register`, which vLLM calls in each of its processes.

Nothing heavy is imported before vLLM asks for the model class.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

ARCHITECTURE = "AlmForConditionalGeneration"
MODEL = "serve.vllm_plugin.model:AlmForVllm"
_WATCH = "alm-parent"


def register() -> None:
    """Make vLLM and transformers' `Auto` classes know the model; may be called again."""
    from vllm import ModelRegistry

    import alm.auto  # noqa: F401 - registers the configuration and the processor

    ModelRegistry.register_model(ARCHITECTURE, MODEL)
    end_with_parent()


def end_with_parent() -> None:
    """Have a process that vLLM started end when its parent is gone: vLLM's core would stay for ever after a kill -9."""
    parent = multiprocessing.parent_process()
    if parent is None or any(t.name == _WATCH for t in threading.enumerate()):
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name=_WATCH, daemon=True).start()
