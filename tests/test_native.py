"""What people expect of a transformers model: pipeline, Trainer, peft, device_map, quantised loading, attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_model
import torch
from peft import LoraConfig
from safetensors import safe_open
from transformers import AutoModelForMultimodalLM, AutoProcessor, Trainer, TrainingArguments, pipeline

import alm.auto  # noqa: F401
from alm.configuration import AlmConfig
from alm.testing import noise, tone

LORA = LoraConfig(r=4, lora_alpha=8, target_modules=r".*language_model\.layers\.\d+\.self_attn\.[qv]_proj")


def messages(recording: Any, question: str, answer: str | None = None) -> list[dict[str, Any]]:
    content = [{"type": "audio", "audio": recording}, {"type": "text", "text": question}]
    said = [] if answer is None else [{"role": "assistant", "content": answer}]
    return [{"role": "user", "content": content}, *said]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    settings = tiny_model.config()
    tiny_model.model(settings).save_pretrained(tmp_path)
    tiny_model.processor(settings).save_pretrained(tmp_path)
    return tmp_path


def test_pipeline_answers(saved: Path) -> None:
    talk = pipeline("any-to-any", model=str(saved), processor=str(saved))
    out = talk(text=messages(tone(), "What?"), max_new_tokens=4, return_full_text=False)
    assert isinstance(out[0]["generated_text"], str)


@pytest.mark.parametrize("tied", [False, True])
def test_a_head_of_its_own_is_kept_and_one_that_is_the_embedding_is_not_kept_twice(tied: bool, tmp_path: Path) -> None:
    """As the language model's configuration says: small models mostly have one matrix for both, those of 7B two."""
    settings = tiny_model.config()
    text = {**settings.to_dict()["text_config"], "tie_word_embeddings": tied}
    model = tiny_model.model(AlmConfig(**{**settings.to_dict(), "text_config": text, "tie_word_embeddings": not tied}))
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tied
    model.save_pretrained(tmp_path)
    again, said = AutoModelForMultimodalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(said.values()), said
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert ("lm_head.weight" in file.keys()) != tied  # noqa: SIM118 - not a mapping
    ids = torch.arange(5, 25)[None]
    assert torch.equal(model(input_ids=ids).logits, again(input_ids=ids).logits)
    assert (again.lm_head.weight is again.get_input_embeddings().weight) == tied


def test_trainer_lowers_the_loss_of_the_aligner(saved: Path, tmp_path: Path) -> None:
    model = AutoModelForMultimodalLM.from_pretrained(saved)
    processor = AutoProcessor.from_pretrained(saved)
    model.requires_grad_(False)
    model.model.hearing.aligners.requires_grad_(True)
    model.model.fusion.requires_grad_(True)
    rows = [messages(tone(), "What?", "aaaa"), messages(noise(), "What?", "bbbb")]

    def collate(batch: list[Any]) -> dict[str, torch.Tensor]:
        inputs = processor.apply_chat_template(
            batch, add_generation_prompt=False, return_labels=True, padding_side="right"
        )
        return dict(inputs)

    arguments = TrainingArguments(
        output_dir=str(tmp_path / "run"), max_steps=30, per_device_train_batch_size=2, learning_rate=2e-2,
        remove_unused_columns=False, report_to=[], use_cpu=True, gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": False}, save_strategy="no", logging_steps=1, disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0] - 0.3


def test_lora_is_off_for_text_only_and_saves_through_peft(saved: Path, tmp_path: Path) -> None:
    model = AutoModelForMultimodalLM.from_pretrained(saved)
    processor = AutoProcessor.from_pretrained(saved)
    text = processor.apply_chat_template([{"role": "user", "content": "Hello"}])
    sound = processor.apply_chat_template(messages(tone(), "What?"))
    options = {"max_new_tokens": 8, "do_sample": False}
    plain = [model.generate(**i, **options) for i in (text, sound)]
    model.add_adapter(LORA)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.5)
    assert torch.equal(model.generate(**text, **options), plain[0])
    assert not torch.equal(model.generate(**sound, **options), plain[1]), "control: with a recording LoRA is on"
    model.config.lora_on_text_only = True
    assert not torch.equal(model.generate(**text, **options), plain[0]), "control: unless the preset keeps it on"
    model.save_pretrained(tmp_path / "adapter")
    again = AutoModelForMultimodalLM.from_pretrained(saved)
    again.load_adapter(str(tmp_path / "adapter"))
    assert torch.equal(again.generate(**sound, **options), model.generate(**sound, **options))


def test_device_map_and_attention_choices_agree(saved: Path) -> None:
    inputs = AutoProcessor.from_pretrained(saved).apply_chat_template(messages(tone(seconds=3.0), "What?"))
    logits = []
    for extra in ({}, {"device_map": {"": "cpu"}}, {"attn_implementation": "eager"}):
        with torch.no_grad():
            logits.append(AutoModelForMultimodalLM.from_pretrained(saved, **extra)(**inputs).logits)
    is_text = inputs["input_ids"] != tiny_model.config().audio_token_id
    assert all(float((logits[0] - other)[is_text].abs().max()) < 1e-4 for other in logits[1:])


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_language_model_still_answers(tmp_path: Path, bits: int) -> None:
    """bitsandbytes packs blocks of 64 weights, so the model is a little wider than elsewhere."""
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    settings = tiny_model.config(hidden=128)
    tiny_model.model(settings).save_pretrained(tmp_path)
    processor = tiny_model.processor(settings)
    kept = ["model.hearing", "model.fusion", "lm_head"]
    how = {4: {"load_in_4bit": True}, 8: {"load_in_8bit": True}}[bits]
    model = AutoModelForMultimodalLM.from_pretrained(
        tmp_path, quantization_config=BitsAndBytesConfig(**how, llm_int8_skip_modules=kept), device_map={"": "cpu"}
    )
    kind = type(model.model.language_model.layers[0].mlp.up_proj).__name__
    assert kind == {4: "Linear4bit", 8: "Linear8bitLt"}[bits]
    inputs = processor.apply_chat_template(messages(tone(), "What?"))
    out = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    assert out.shape[1] == inputs["input_ids"].shape[1] + 4
