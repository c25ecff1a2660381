"""`agentprm status`: how far experiments are, from the store and from Dagster's records; nothing is changed."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict

import dagster as dg

from agentprm_dagster.assembly import build_definitions
from agentprm_dagster.commands.instance import existing_instance
from agentprm_dagster.commands.tables import print_table
from agentprm_dagster.config import Experiment
from agentprm_dagster.config.catalog import load_experiment
from agentprm_dagster.iterations import FIRST
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.stages.chosen import chosen_experiments
from agentprm_dagster.stages.progress import Progress, Stage, progress

STATES = ("made", "running", "queued", "failed", "waiting")


def print_status(name: str | None, *, as_json: bool) -> None:
    """Prints the stages of an experiment by what became of them, or how many of each kind every experiment has."""
    store = ArtifactsResource().store()
    experiments = {name: load_experiment(name)} if name else chosen_experiments(store).experiments
    with ExitStack() as stack:
        if instance := existing_instance():
            stack.enter_context(instance)
        found = dict(_progress(store, instance, experiments))
    if as_json:
        print(json.dumps({name: list(_records(stages)) for name, stages in found.items()}, indent=2))
    elif name:
        _print_one(found[name])
    else:
        lines = ((each, *(_count(stages, state) for state in STATES)) for each, stages in found.items())
        print_table(("experiment", *STATES), lines, len(STATES) + 1)


def _progress(
    store: ArtifactStore, instance: dg.DagsterInstance | None, experiments: Mapping[str, Experiment]
) -> Iterator[tuple[str, dict[Stage, Progress]]]:
    graph = build_definitions(experiments).resolve_asset_graph()
    keys = [key for key in graph.toposorted_asset_keys if key in graph.executable_asset_keys]
    for name, experiment in experiments.items():
        assets = {key.path[-1]: graph.get(key).is_partitioned for key in keys if key.path[0] == name}
        made = [head.iteration for head in store.heads(name)]
        iterations = range(FIRST, max(experiment.iterations, *made, FIRST) + 1)
        stages = [
            Stage(asset, i) for asset, of_iteration in assets.items() for i in (iterations if of_iteration else [0])
        ]
        yield name, progress(store, instance, name, stages)


def _records(stages: Mapping[Stage, Progress]) -> Iterator[dict[str, object]]:
    return ({**stage._asdict(), **asdict(found)} for stage, found in stages.items())


def _count(stages: Mapping[Stage, Progress], state: str) -> str:
    return str(sum(each.state == state for each in stages.values()) or "")


def _print_one(stages: Mapping[Stage, Progress]) -> None:
    assets = dict.fromkeys(stage.asset for stage in stages)
    lines = ((asset, *(_iterations(stages, asset, state) for state in STATES)) for asset in assets)
    print_table(("stage", *STATES), lines, len(STATES) + 1)
    for stage, found in stages.items():
        if found.state in ("running", "failed"):
            name = f"{stage.asset}[{stage.iteration}]" if stage.iteration else stage.asset
            print(f"{name} {found.state}{': ' if found.words else ''}{found.words} (run {(found.run or '?')[:8]})")


def _iterations(stages: Mapping[Stage, Progress], asset: str, state: str) -> str:
    """`1 to 3, 5`; `yes` for a stage that has no iterations."""
    found = [each.iteration for each, of_it in stages.items() if each.asset == asset and of_it.state == state]
    return "yes" if found == [0] else ", ".join(_ranges(found))


def _ranges(numbers: Iterable[int]) -> Iterator[str]:
    """Numbers in their order, those that follow each other as `1 to 3`."""
    numbers = list(numbers)
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return (str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True))
