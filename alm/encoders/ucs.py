"""Names of aiSFX's classes, as far as they could be recovered.

Two of the nine heads are trained on the categories of the Universal Category System (version 8, public domain), in
alphabetical order, but not on all of them. `python -m bench.ucs_names STORE` scores labelled clips and finds the one
alphabetical assignment that fits best; a class is named if every other assignment fits clearly worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CATEGORIES = (
    "AIR, AIRCRAFT, ALARMS, AMBIENCE, ANIMALS, ARCHIVED, BEEPS, BELLS, BIRDS, BOATS, BULLETS, CARTOON, "
    "CERAMICS, CHAINS, CHEMICALS, CLOCKS, CLOTH, COMMUNICATIONS, COMPUTERS, CREATURES, CROWDS, DESIGNED, "
    "DESTRUCTION, DIRT & SAND, DOORS, DRAWERS, ELECTRICITY, EQUIPMENT, EXPLOSIONS, FARTS, FIGHT, FIRE, "
    "FIREWORKS, FOLEY, FOOD & DRINK, FOOTSTEPS, GAMES, GEOTHERMAL, GLASS, GORE, GUNS, HORNS, HUMAN, ICE, "
    "LASERS, LEATHER, LIQUID & MUD, MACHINES, MAGIC, MECHANICAL, METAL, MOTORS, MOVEMENT, MUSICAL, NATURAL "
    "DISASTER, OBJECTS, PAPER, PLASTIC, RAIN, ROBOTS, ROCKS, ROPE, RUBBER, SCIFI, SNOW, SPORTS, SWOOSHES, "
    "TOOLS, TOYS, TRAINS, USER INTERFACE, VEGETATION, VEHICLES, VOICES, WATER, WEAPONS, WEATHER, WHISTLES, "
    "WIND, WINDOWS, WINGS, WOOD"
).split(", ")


def _names(absent: set[str], unproven: set[int]) -> tuple[str | None, ...]:
    present = [name for name in CATEGORIES if name not in absent]
    return tuple(None if index in unproven else name for index, name in enumerate(present))


HEAD_NAMES: Mapping[str, tuple[str | None, ...]] = MappingProxyType(
    {
        "prosfx": _names({"ARCHIVED", "CERAMICS", "MAGIC", "WINDOWS"}, {3, 4, 10, 11, 12, 13, 14, 43, 44, 45, 46}),
        "soundlyTrain": _names({"ARCHIVED", "FOLEY", "GEOTHERMAL"}, set()),
    }
)
"""Library to the category of each of its classes; None where two neighbours could not be told apart."""
