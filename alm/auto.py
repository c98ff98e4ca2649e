"""Importing this module makes transformers' `Auto` classes know the model: `import alm.auto`."""

from __future__ import annotations

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForMultimodalLM, AutoProcessor

from alm.configuration import AlmConfig
from alm.modeling import AlmForConditionalGeneration, AlmModel
from alm.processing import AlmFeatureExtractor, AlmProcessor

AutoConfig.register("alm", AlmConfig, exist_ok=True)
AutoModel.register(AlmConfig, AlmModel, exist_ok=True)
AutoModelForMultimodalLM.register(AlmConfig, AlmForConditionalGeneration, exist_ok=True)
AutoFeatureExtractor.register(AlmConfig, AlmFeatureExtractor, exist_ok=True)
AutoProcessor.register(AlmConfig, AlmProcessor, exist_ok=True)
