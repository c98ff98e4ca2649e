"""What every family in the registry must be, whoever adds one."""

from __future__ import annotations

import json

import pytest
import torch

from alm import encoders
from alm.encoders.family import Family
from alm.errors import ConfigError


def check_size(family: Family, size: str) -> set[str]:
    """Built without memory: the parts agree with each other, and the configuration can be written down.

    Returns the last parts of the names of its layers.
    """
    config = json.loads(json.dumps(dict(family.sizes[size])))
    with torch.device("meta"):
        encoder = family.build(config)
    front_end = family.front_end(config)
    assert encoder.name == family.name and encoder.front_end == front_end
    assert encoders.front_end_from_dict(json.loads(json.dumps(front_end.to_dict()))) == front_end
    assert encoder.dim > 0 and encoder.num_layers >= 0 and encoder.frames_per_second > 0
    times = encoder.times(100)
    assert times.shape == (100, 2) and bool((times[:, 0] < times[:, 1]).all()) and bool((times.diff(dim=0) >= 0).all())
    kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)
    return {name.rsplit(".", 1)[-1] for name, module in encoder.named_modules() if isinstance(module, kinds)}


@pytest.mark.parametrize("name", encoders.names())
def test_a_family_is_what_its_contract_says(name: str) -> None:
    family = encoders.family(name)
    assert family.name == name
    facts = family.facts
    for value in (facts.title, facts.paper, facts.home, facts.licence_code, facts.licence_weights, facts.good_at):
        assert value.strip()
    assert facts.proved_against.strip(), "say what its numbers were compared with, or that nothing could be"
    check_size(family, next(iter(family.sizes)))


@pytest.mark.slow
@pytest.mark.parametrize("name", encoders.names())
def test_all_sizes_can_be_built_and_tuned(name: str) -> None:
    family = encoders.family(name)
    layers = set().union(*(check_size(family, size) for size in family.sizes))
    assert {way.rsplit(".", 1)[-1] for target in family.lora_targets for way in target.split("|")} <= layers


@pytest.mark.parametrize("name", encoders.names())
def test_settings_of_nobody_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no_such_field"):
        encoders.build(name, {"no_such_field": 1})
