"""`agentprm export` and `agentprm check`: a bundle that a stranger can check."""

import json
from dataclasses import asdict
from pathlib import Path

import typer

from agentprm_dagster.bundles.check import check
from agentprm_dagster.bundles.export import export
from agentprm_dagster.bundles.findings import Check, exit_code
from agentprm_dagster.config.catalog import load_experiment
from agentprm_dagster.resources.artifacts import ArtifactsResource

_SHOWN = 20
"""How many differences of a check are printed; --json names all."""


def export_bundle(experiment: str, iteration: int, out: Path, hub: str | None) -> None:
    """Writes the bundle of pi_i.

    Raises:
        BundleError, ArtifactError: see `bundles.export`.
    """
    record = export(ArtifactsResource().store(), load_experiment(experiment), iteration, hub, out)
    size = sum(entry.bytes for entry in record.files)
    print(f"{out}: {len(record.files)} files, {size / 1e6:.1f} MB. Check it: agentprm check {out}")


def check_bundle(folder: Path, *, play: bool, as_json: bool) -> int:
    """Prints what differs and what could not be checked; the exit code (`bundles.findings`).

    Raises:
        BundleError: the folder is no bundle.
    """
    done = []
    for each in check(folder, play=play):
        done.append(each)
        if not as_json:
            _print(each)
    code = exit_code(done)
    if as_json:
        print(json.dumps({"exit_code": code, "checks": [asdict(each) for each in done]}, indent=2))
    return code


def _print(each: Check) -> None:
    state = "differs" if each.differences else "not all done" if each.not_done else "same"
    typer.secho(f"{each.name:10} {state:14} {each.counted}", fg="red" if each.differences else None)
    for words, sentences in (("", each.differences), ("not done: ", each.not_done)):
        for sentence in sentences[:_SHOWN]:
            print(f"  {words}{sentence}")
        if len(sentences) > _SHOWN:
            print(f"  and {len(sentences) - _SHOWN} more: --json names all")
