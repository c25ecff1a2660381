"""`agentprm experiments`: which experiments there are, what they set, and in what two of them differ."""

import json

import typer

from agentprm_dagster.commands.tables import print_table
from agentprm_dagster.config.catalog import load_catalog, load_experiment
from agentprm_dagster.config.differences import changes, differences


def print_experiments(*, as_json: bool) -> None:
    """Prints every experiment's name, iterations and description; what cannot be read is named on the error output."""
    experiments, errors = load_catalog()
    for error in errors:
        typer.secho(f"An experiment is left out: {error}", fg="yellow", err=True)
    if as_json:
        print(json.dumps({name: each.model_dump(mode="json") for name, each in experiments.items()}, indent=2))
        return
    lines = ((name, str(each.iterations), each.description) for name, each in experiments.items())
    print_table(("experiment", "iterations", "what it is"), lines, 3)


def print_experiment(name: str, *, as_json: bool) -> None:
    """Prints what an experiment changes of the defaults; as JSON all its settings."""
    experiment = load_experiment(name)
    if as_json:
        print(json.dumps(experiment.model_dump(mode="json"), indent=2))
        return
    print(f"{name}: {experiment.description}")
    lines = [(each.setting, _word(each.other), _word(each.one)) for each in changes(experiment)]
    print_table(("setting", "value", "by default"), lines, 3)


def print_differences(one: str, other: str, *, as_json: bool) -> None:
    """Prints the settings in which two experiments differ."""
    found = differences(load_experiment(one), load_experiment(other))
    if as_json:
        print(json.dumps({each.setting: {one: each.one, other: each.other} for each in found}, indent=2))
    elif found:
        print_table(("setting", one, other), [(each.setting, _word(each.one), _word(each.other)) for each in found], 3)
    else:
        print(f"{one} and {other} have the same settings.")


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
