"""How the chat page looks: theme, head, and what stands on it once and for all."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

import gradio as gr

if TYPE_CHECKING:
    from serve.chat.models import Offer


def theme() -> gr.themes.Base:
    """System fonts: nothing is fetched from elsewhere."""
    sans = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace"]
    return gr.themes.Soft(primary_hue="teal", neutral_hue="slate", font=sans, font_mono=mono)


def title(offers: Sequence[Offer]) -> str:
    names = ", ".join(f"<b>{escape(offer.name)}</b>" for offer in offers)
    return (
        "<h1>alm</h1><p>Ask about recordings: what is heard, what is said, what differs. "
        f"Model{'s' if len(offers) > 1 else ''} {names}, on this machine.</p>"
    )


def about(offer: Offer) -> str:
    """What the settings say of a model."""
    rows = {"Preset": offer.preset, "Fusion scheme": offer.scheme, "Context": f"{offer.context_tokens} tokens"}
    cells = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in rows.items())
    return f'<dl class="alm-about">{cells}</dl>'


def asset(name: str) -> str:
    return resources.files("serve.chat").joinpath("assets", name).read_text(encoding="utf-8")


def head() -> str:
    """Style and script of the page's head."""
    return f"<style>{asset('frame.css')}</style><script>{asset('page.js')}</script>"
