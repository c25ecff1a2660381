"""Which settings of an experiment are not the defaults, and in which two of them differ."""

import pytest

from agentprm_dagster.config import Experiment
from agentprm_dagster.config.catalog import Settings, checked, load_catalog
from agentprm_dagster.config.differences import Difference, changes, differences


def experiment(**values: object) -> Experiment:
    return checked("x", Settings(values, {}), "here")


def test_what_is_not_the_default_is_a_change() -> None:
    assert changes(experiment()) == []
    assert changes(experiment(seed=3, improvement={"beta": 0.3})) == [
        Difference("seed", 0, 3), Difference("improvement.beta", 1.0, 0.3)
    ]  # fmt: skip


def test_another_kind_is_a_change_and_its_own_defaults_are_none() -> None:
    assert changes(experiment(targets={"kind": "shaped"})) == [Difference("targets.kind", "mc", "shaped")]


def test_two_kinds_differ_in_what_one_of_them_lacks() -> None:
    found = {each.setting: each for each in differences(experiment(), experiment(targets={"kind": "shaped"}))}
    assert found["targets.kind"] == ("targets.kind", "mc", "shaped")
    assert all(each.one == "-" for name, each in found.items() if name != "targets.kind")
    assert len(found) > 1


@pytest.mark.parametrize("name", load_catalog().experiments)
def test_changes_make_the_experiment(name: str) -> None:
    """Every shipped one: its changes over the defaults are the experiment again."""
    whole = load_catalog([name]).experiments[name]
    values: dict[str, object] = {}
    for setting, _, value in changes(whole):
        section, _, key = setting.partition(".")
        if key:
            values.setdefault(section, {})[key] = value  # type: ignore[index]
        else:
            values[section] = value
    assert differences(whole, experiment(**values)) == []
