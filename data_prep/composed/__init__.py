"""Scenes made of the clips of samples, with a table of events that is exact, and questions about them."""

from data_prep.composed.composing import Composer, compose
from data_prep.composed.plan import ScenePlan, load_plan

__all__ = ["Composer", "ScenePlan", "compose", "load_plan"]
