"""Where and how audio enters the decoder: one switch, five schemes."""

from alm.fusion.cache import FusionCache
from alm.fusion.decoder import TEXT, AudioRows, FusedDecoder
from alm.fusion.plan import Plan, Route

__all__ = ["TEXT", "AudioRows", "FusedDecoder", "FusionCache", "Plan", "Route"]
