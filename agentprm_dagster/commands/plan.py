"""`agentprm plan`: what every stage of an experiment would take, before anything is made."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields

from rich.console import Console
from rich.table import Table

from agentprm_dagster.config import Experiment
from agentprm_dagster.config.compute import Compute
from agentprm_dagster.planning.assumptions import ABOUT, assume
from agentprm_dagster.planning.memory import Memory
from agentprm_dagster.planning.remedies import remedy
from agentprm_dagster.planning.setup import Setup, Stage
from agentprm_dagster.planning.shapes import shape_of
from agentprm_dagster.planning.stages import stages

GB = 1e9
CONTEXT = 2 * GB
"""What CUDA itself takes of a GPU, and the gaps between tensors that no tensor fits into."""


def print_plan(
    experiment: Experiment,
    compute: Compute,
    *,
    gpus: int,
    memory: float,
    assumed: Sequence[str],
    as_json: bool,
) -> bool:
    """Prints the plan; whether every stage fits into `memory` GB of each GPU.

    Raises:
        AssumptionError: something is assumed that a plan has no use for.
        ShapeError: the size of the experiment's model is not known.
    """
    setup = Setup(
        experiment=experiment,
        shape=shape_of(experiment.model),
        assumed=assume(assumed),
        engine=compute.engine,
        training=compute.training,
        gpus=gpus,
    )
    found, most = stages(setup), memory * GB - CONTEXT
    problems = {stage.name: _problem(setup, stage, most) for stage in found if _total(stage) > most}
    if as_json:
        print(json.dumps(_record(setup, found, problems), indent=2))
    else:
        _print(setup, found, problems, memory)
    return not problems


def _total(stage: Stage) -> float:
    return stage.memory.total if stage.memory else 0.0


def _problem(setup: Setup, stage: Stage, most: float) -> str:
    """What a stage that does not fit would take, and what would make it fit."""
    ways = remedy(setup, stage.name, most) if stage.step else "fewer rollouts.slots, or engine.kind: vllm"
    change = f"set {ways}" if ways else "no setting known here makes it fit: take a smaller model"
    return f"{stage.name} would take {_total(stage) / GB:.0f} GB of a GPU, and {most / GB:.0f} are there: {change}"


def _record(setup: Setup, found: Sequence[Stage], problems: dict[str, str]) -> dict[str, object]:
    return {
        "experiment": setup.experiment.name,
        "gpus": setup.gpus,
        "stages": [
            {
                "stage": stage.name,
                "on": stage.on,
                "parameters": stage.parameters,
                "tokens_trained": stage.trained,
                "tokens_read": stage.read,
                "tokens_drawn": stage.drawn,
                "seconds": stage.seconds,
                "bytes": {**asdict(stage.memory), "total": stage.memory.total} if stage.memory else None,
                "problem": problems.get(stage.name),
            }
            for stage in found
        ],
        "assumed": asdict(setup.assumed),
    }


def _print(setup: Setup, found: Sequence[Stage], problems: dict[str, str], memory: float) -> None:
    console = Console()
    console.width = console.width if console.is_terminal else 160
    parts = [field.name for field in fields(Memory)]
    table = Table("stage", "on", "parameters", "trained", "read", "drawn", "time", "GB", *parts)
    table.columns[0].no_wrap = True
    for column in table.columns[2:]:
        column.justify = "right"
    for stage in found:
        held = [f"{getattr(stage.memory, part) / GB:.1f}" if stage.memory else "" for part in parts]
        total = f"{_total(stage) / GB:.1f}" if stage.memory else ""
        counts = (_short(count) for count in (stage.parameters, stage.trained, stage.read, stage.drawn))
        style = "red" if stage.name in problems else None
        table.add_row(stage.name, stage.on, *counts, _time(stage.seconds), total, *held, style=style)
    table.add_section()
    table.add_row("all", *[""] * 5, _time(sum(stage.seconds for stage in found)), style="bold")
    console.print(table)
    where = f"{setup.gpus} GPUs" if setup.gpus > 1 else "one GPU"
    lines = [
        f"Iteration 1 of {setup.experiment.name}, {where} of {memory:g} GB; tokens trained on, read besides, drawn.",
        "Nothing was measured: memory is arithmetic, and tokens and time assume (--assume NAME=VALUE)",
        *(f"  {name} = {getattr(setup.assumed, name):g}: {about}" for name, about in ABOUT.items()),
    ]
    console.print("\n".join(lines), highlight=False, markup=False)
    if setup.engine.kind == "embedded" and setup.on_gpu:
        console.print("engine.kind: embedded plays on the CPU: a model of this size wants vllm, or transformers.")
    for problem in problems.values():
        console.print(problem, style="red", highlight=False, markup=False, soft_wrap=True)


def _short(count: float) -> str:
    """1234567 as `1.2M`; nothing for 0."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}" if count else ""


def _time(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} h"
    if seconds >= 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s" if seconds else ""
