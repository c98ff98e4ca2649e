"""Properties of the five fusion schemes, each with a control that fails when the property is broken."""

from __future__ import annotations

import pytest
import torch
from fusion_helpers import AUDIO, FAMILIES, SCHEMES, TOKENS, audio_tokens, left_padded, model, prompt
from torch import Tensor
from torch.nn import functional as F

from alm.errors import ConversationError
from alm.fusion import FusionCache, keys_only
from alm.fusion.keys_only import KeysOnly
from alm.modeling import AlmForConditionalGeneration

EVERY = [
    (s, e)
    for s in SCHEMES
    for e in ("absent", "placeholder")
    if not (s in ("prefix", "cross_attention") and e == "placeholder")
]


# Every scheme on two decoder shapes; the other families and eager attention on the two schemes that differ most.
CACHED = [(f, "sdpa", s, e) for f in ("llama", "gemma3_text") for s, e in EVERY] + [
    (f, a, s, "absent")
    for f, a in [(f, "sdpa") for f in FAMILIES if f not in ("llama", "gemma3_text")]
    + [("llama", "eager"), ("gemma2", "eager")]
    for s in ("delayed", "keys_values")
]


def text_rows(logits: Tensor, ids: Tensor) -> Tensor:
    return logits[ids != AUDIO]


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return bool((a - b).abs().max() < tolerance)


def run(m: AlmForConditionalGeneration, ids: Tensor, audio: Tensor | None, **kwargs: object) -> Tensor:
    extra = {} if audio is None else {"audio_embeds": audio}
    with torch.no_grad():
        return m(input_ids=ids, **extra, **kwargs).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_prefix_equals_stock_decoder(family: str) -> None:
    m = model("prefix", family)
    ids, audio = prompt(4, "a", 6), audio_tokens(1)
    embeds = m.get_input_embeddings()(ids).clone()
    embeds[ids == AUDIO] = m.model.fusion.entry(audio, 0).reshape(-1, embeds.shape[-1])
    with torch.no_grad():
        stock = m.lm_head(m.model.language_model(inputs_embeds=embeds).last_hidden_state)
        wrong = m.lm_head(m.model.language_model(inputs_embeds=embeds.roll(1, 1)).last_hidden_state)
    ours = run(m, ids, audio)
    assert close(ours, stock)
    assert not close(ours, wrong), "control: other embeddings must give other logits"


@pytest.mark.parametrize(("family", "attention", "scheme", "early"), CACHED)
def test_cached_equals_uncached(family: str, attention: str, scheme: str, early: str) -> None:
    m = model(scheme, family, early, attention)
    ids, audio = prompt(4, "a", 6, "a", 5), audio_tokens(2)
    whole = run(m, ids, audio)
    cache = FusionCache()
    first = run(m, ids[:, :12], audio[:1], past_key_values=cache)
    second = run(m, ids[:, 12:-2], audio[1:], past_key_values=cache)
    steps = [run(m, ids[:, i : i + 1], None, past_key_values=cache) for i in range(ids.shape[1] - 2, ids.shape[1])]
    pieces = torch.cat([first, second, *steps], dim=1)
    assert close(text_rows(pieces, ids), text_rows(whole, ids))
    without = run(m, ids[:, -2:], None, past_key_values=FusionCache())
    assert not close(without[:, -1], whole[:, -1]), "control: forgetting the past must show"


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
@pytest.mark.parametrize(("scheme", "early"), EVERY)
def test_alone_equals_batched_and_padded(scheme: str, early: str, family: str) -> None:
    m = model(scheme, family, early)
    rows = [prompt(4, "a", 6, seed=1), prompt(9, seed=2), prompt(2, "a", 3, "a", 8, seed=3)]
    audio = audio_tokens(3)
    ids, mask = left_padded(rows)
    together = run(m, ids, audio, attention_mask=mask)
    for i, (row, own) in enumerate(zip(rows, [audio[:1], None, audio[1:]], strict=True)):
        alone = run(m, row, own)
        assert close(text_rows(together[i : i + 1, -row.shape[1] :], row), text_rows(alone, row))
    unmasked = run(m, ids, audio)
    assert not close(unmasked[0, -1], together[0, -1]), "control: padding that is attended to must show"


@pytest.mark.parametrize(("scheme", "early"), EVERY)
def test_generate_alone_equals_batched(scheme: str, early: str) -> None:
    m = model(scheme, early=early)
    rows, audio = [prompt(4, "a", 6, seed=1), prompt(2, "a", 3, "a", 8, seed=3)], audio_tokens(3)
    ids, mask = left_padded(rows)
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": 63}
    together = m.generate(ids, attention_mask=mask, audio_embeds=audio, **options)[:, ids.shape[1] :]
    alone = [
        m.generate(row, attention_mask=torch.ones_like(row), audio_embeds=own, **options)[:, row.shape[1] :]
        for row, own in zip(rows, [audio[:1], audio[1:]], strict=True)
    ]
    ended = [F.pad(a[0], (0, together.shape[1] - a.shape[1])) for a in alone]  # rows of a batch wait with zeros
    assert together.tolist() == [a.tolist() for a in ended]
    uncached = m.generate(ids, attention_mask=mask, audio_embeds=audio, use_cache=False, **options)[:, ids.shape[1] :]
    assert together.tolist() == uncached.tolist()
    beams = {"num_beams": 3, **options}
    searched = m.generate(rows[0], audio_embeds=audio[:1], **beams)
    again = m.generate(rows[0], audio_embeds=audio[:1], use_cache=False, **beams)
    assert searched.tolist() == again.tolist()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_audio_changes_the_answer(scheme: str) -> None:
    m, ids = model(scheme), prompt(4, "a", 6)
    assert not close(run(m, ids, audio_tokens(1, 1))[:, -1], run(m, ids, audio_tokens(1, 2))[:, -1], 1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_text_only_is_bit_equal_to_the_language_model(family: str) -> None:
    m, ids = model("delayed", family), prompt(9)
    with torch.no_grad():
        stock = m.lm_head(m.model.language_model(input_ids=ids).last_hidden_state)
    assert torch.equal(run(m, ids, None), stock)
    assert not torch.equal(run(m, prompt(3, "a", 6), audio_tokens(1))[:, -1], stock[:, -1])


@pytest.mark.parametrize("scheme", ["keys_values", "hybrid"])
def test_keys_only_audio_passes_no_feed_forward(scheme: str) -> None:
    """Poison every feed-forward block on all rows that are not text (or summary): nothing changes."""
    m, ids, audio = model(scheme), prompt(4, "a", 6), audio_tokens(1)
    seen: list[int] = []
    hooks = [
        layer.mlp.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[1]))
        for layer in m.model.language_model.layers
    ]
    run(m, ids, audio)
    start = m.model.fusion.plan.groups[-1].first
    stream = ids.shape[1] - TOKENS + (2 if scheme == "hybrid" else 0)
    assert seen[start:] == [stream] * (4 - start)
    seen.clear()
    delayed = model("delayed")
    for layer in delayed.model.language_model.layers:
        layer.mlp.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[1]))
    run(delayed, ids, audio)
    assert seen[-1] == ids.shape[1], "control: delayed audio does pass the feed-forward blocks"
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize(
    ("family", "attention"), [(f, "sdpa") for f in FAMILIES] + [("llama", "eager"), ("gemma2", "eager")]
)
def test_lent_keys_equal_rows_of_stock_attention(family: str, attention: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and values by the layer's projections are those that the module makes when audio is among its rows."""
    m = model("hybrid", family, attention=attention)
    ids, real = left_padded([prompt(4, "a", 6, "a", 2), prompt(7, "a", 3)])
    audio = audio_tokens(3).requires_grad_()

    def results() -> tuple[Tensor, Tensor]:
        logits = m(input_ids=ids, attention_mask=real, audio_embeds=audio).logits[(ids != AUDIO) & real.bool()]
        (gradient,) = torch.autograd.grad(logits.square().mean(), audio)
        return logits.detach(), gradient

    lent = results()
    monkeypatch.setattr(keys_only, "is_table", lambda mask: False)
    rows = results()
    as_rows = KeysOnly._as_rows
    monkeypatch.setattr(KeysOnly, "_as_rows", lambda self, *args: as_rows(self, *args[:2], -args[2], args[3]))
    other = results()
    assert close(lent[0], rows[0]) and close(lent[1], rows[1], 1e-5 * float(rows[1].abs().max()) + 1e-6)
    assert not close(other[0], rows[0]) and not close(other[1], rows[1], 1e-3), "control: other audio"


@pytest.mark.parametrize(("scheme", "queries"), [("keys_values", 10), ("hybrid", 12), ("delayed", 15)])
def test_keys_only_audio_makes_no_queries(scheme: str, queries: int) -> None:
    m = model(scheme)
    seen: dict[str, list[int]] = {}
    for name in ("q_proj", "k_proj"):
        part = m.model.language_model.layers[3].self_attn.get_submodule(name)
        part.register_forward_pre_hook(lambda _, x, n=name: seen.setdefault(n, []).append(x[0].shape[-2]))
    run(m, prompt(4, "a", 6), audio_tokens(1))
    assert sum(seen["q_proj"]) == queries and sum(seen["k_proj"]) == 15


@pytest.mark.parametrize("scheme", ["delayed", "keys_values", "hybrid"])
def test_absent_audio_leaves_no_keys_in_early_layers(scheme: str) -> None:
    ids, audio = prompt(4, "a", 6), audio_tokens(1)
    for early, stored in (("absent", ids.shape[1] - TOKENS), ("placeholder", ids.shape[1])):
        m, cache = model(scheme, early=early), FusionCache()
        run(m, ids, audio, past_key_values=cache)
        start = m.model.fusion.plan.groups[-1].first
        lengths = [layer.get_seq_length() for layer in cache.layers]
        assert lengths == [stored] * start + [ids.shape[1]] * (4 - start)


@pytest.mark.parametrize("scheme", ["delayed", "keys_values"])
def test_absent_early_layers_do_not_depend_on_the_audio(scheme: str) -> None:
    """Below the entry, text sees the same whether or not a recording lies between (but for its position)."""
    m = model(scheme)
    with_audio, cache_a = prompt(4, "a", 6, seed=5), FusionCache()
    run(m, with_audio, audio_tokens(1), past_key_values=cache_a)
    cache_b = FusionCache()
    run(m, with_audio, audio_tokens(1, 9), past_key_values=cache_b)
    assert torch.equal(cache_a.layers[1].keys, cache_b.layers[1].keys)
    assert not torch.equal(cache_a.layers[3].keys, cache_b.layers[3].keys)


@pytest.mark.parametrize(("scheme", "early"), EVERY)
def test_crop_then_go_on_equals_fresh(scheme: str, early: str) -> None:
    m, ids, audio = model(scheme, early=early), prompt(4, "a", 6, "a", 5), audio_tokens(2)
    cache = FusionCache()
    run(m, ids, audio, past_key_values=cache)
    keep = 12
    cache.crop(keep - ids.shape[1])
    resumed = run(m, ids[:, keep:], audio[1:], past_key_values=cache)
    whole = run(m, ids, audio)
    assert close(text_rows(resumed, ids[:, keep:]), text_rows(whole[:, keep:], ids[:, keep:]))


def test_wrong_count_of_audio_is_refused() -> None:
    m, ids = model(), prompt(4, "a", 6)
    with pytest.raises(ConversationError, match="5 audio positions .* 10 audio tokens"):
        run(m, ids, audio_tokens(2))
    with pytest.raises(ConversationError, match="no place"):
        run(m, prompt(5), audio_tokens(1), audio_windows=torch.tensor([1]))


@pytest.mark.parametrize(("scheme", "early"), EVERY)
def test_gradient_checkpointing_gives_the_same_gradients(scheme: str, early: str) -> None:
    ids, audio = prompt(4, "a", 6), audio_tokens(1)
    grads = []
    for on in (False, True):
        m = model(scheme, early=early).train()
        if on:
            m.gradient_checkpointing_enable({"use_reentrant": False})
        tokens = audio.clone().requires_grad_()
        m(input_ids=ids, audio_embeds=tokens, labels=ids.masked_fill(ids == AUDIO, -100)).loss.backward()
        grads.append(tokens.grad)
    assert grads[0] is not None and float(grads[0].abs().max()) > 0
    assert close(grads[0], grads[1])
