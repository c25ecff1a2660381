"""In which settings experiments differ, from each other and from the defaults."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from agentprm_dagster.config.experiment import Experiment
from agentprm_dagster.config.kinds import USUAL

NOT_THERE = "-"
"""In the place of a value, where one of two kinds of a section has no such setting."""

_OF_ITSELF = {"name", "description"}


class Difference(NamedTuple):
    """A setting of two experiments; a value is as in JSON."""

    setting: str
    """Its dotted name, such as `improvement.beta`."""
    one: Any
    other: Any


def differences(one: Experiment, other: Experiment) -> list[Difference]:
    """The settings in which two experiments differ, in the order of the sections."""
    return list(_apart(_flat(one), _flat(other)))


def changes(experiment: Experiment) -> list[Difference]:
    """The settings of an experiment that are not the defaults, and these; those of a section's kind, where it has one.

    A kind that is not the usual one is a change itself.
    """
    of_kinds = {name: kind for name, kind in USUAL.items() if name in Experiment.model_fields}
    sections = {name: type(getattr(experiment, name))() for name in of_kinds}
    usual = _flat(Experiment(name=experiment.name).model_copy(update=sections))
    return list(_apart({**usual, **{f"{name}.kind": kind for name, kind in of_kinds.items()}}, _flat(experiment)))


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys([*one, *other]):
        if any(key.startswith(f"{name}.") for key in [*one, *other]):
            continue  # a section that is null on one side: the settings on the other tell it
        if one.get(name, NOT_THERE) != other.get(name, NOT_THERE):
            yield Difference(name, one.get(name, NOT_THERE), other.get(name, NOT_THERE))


def _flat(experiment: Experiment) -> dict[str, Any]:
    """Every setting by its dotted name."""
    return dict(_leaves(experiment.model_dump(mode="json", exclude=_OF_ITSELF)))


def _leaves(values: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{place}{name}.")
        else:
            yield f"{place}{name}", value
