"""Open-ended instruction data, written by a language model behind an OpenAI-compatible endpoint and then checked."""
