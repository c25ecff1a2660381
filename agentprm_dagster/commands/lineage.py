"""`agentprm lineage` and `agentprm verify`: answers from the manifests alone."""

import json
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import get_args

import typer
from rich.console import Console

from agentprm_dagster.provenance.announcements import ROLE
from agentprm_dagster.provenance.code import asset_modules
from agentprm_dagster.provenance.differences import Kind, compare
from agentprm_dagster.provenance.drawing import draw, text_tree
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.html import html
from agentprm_dagster.provenance.lineage import lineage
from agentprm_dagster.provenance.openlineage import events
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import verify
from agentprm_dagster.resources.artifacts import ArtifactsResource


def print_lineage(
    experiment: str,
    asset: str,
    iteration: int,
    digest: str | None,
    picture: Path | None,
    page: Path | None,
    openlineage: Path | None,
    *,
    down: bool,
    as_json: bool,
) -> None:
    """Prints what made an artifact, or what was made from it; also writes it as the files that are named.

    Raises:
        ArtifactError: there is no such version, or a manifest is damaged.
    """
    store = ArtifactsResource().store()
    _refuse_unknown(asset)
    if digest is None:
        _refuse_unmade(store, experiment, asset, iteration)
    found = lineage(store, experiment, asset, iteration, digest, "downstream" if down else "upstream")
    if picture:
        draw(found, picture)
    if page:
        page.write_text(html(found), encoding="utf-8")
    for place in found.unread:
        typer.secho(f"{place} cannot be read and was left out: `agentprm verify` says why", fg="yellow", err=True)
    if openlineage:
        lines = "".join(f"{json.dumps(event)}\n" for event in events(found))
        if str(openlineage) == "-":
            print(lines, end="")
            return
        openlineage.write_text(lines, encoding="utf-8")
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
        return
    if commit := found.commit():
        print(f"all by commit {commit}")
    Console().print(text_tree(found))


def print_differences(experiment: str, asset: str, iterations: tuple[int, int], *, as_json: bool) -> None:
    """Prints what differs between what made the artifacts of two iterations.

    Raises:
        ArtifactError: one is not there, or a manifest is damaged.
    """
    store = ArtifactsResource().store()
    _refuse_unknown(asset)
    for iteration in iterations:
        _refuse_unmade(store, experiment, asset, iteration)
    one, other = (lineage(store, experiment, asset, iteration) for iteration in iterations)
    differences = compare(one, other)
    if as_json:
        print(json.dumps(differences.to_dict(), indent=2))
        return
    for where, found in groupby(differences.found, key=attrgetter("where")):
        print(where)
        for each in found:
            print(f"  {each.kind}: {each.name}: {each.one or 'none'} | {each.other or 'none'}")
    print(f"made alike for both: {', '.join(differences.same) or 'nothing'}")
    agree = [kind for kind in get_args(Kind) if kind not in {each.kind for each in differences.found}]
    print(f"no difference in: {', '.join(agree) or 'nothing'}")


ORACLE = "oracle"
"""What `agentprm oracle play` keeps beside the assets."""


def asset_names() -> list[str]:
    """The assets that artifacts are kept under."""
    return [*(name for name in asset_modules() if name != ROLE), ORACLE]


def print_verification(*, as_json: bool) -> bool:
    """Prints what is not as it was committed; whether all is."""
    store = ArtifactsResource().store()
    if not store.root.exists():
        raise ArtifactError(f"there are no artifacts in {store.root}: are AGENTPRM_HOME and AGENTPRM_STORE right?")
    verification = verify(store)
    if as_json:
        print(json.dumps(verification.to_dict(), indent=2))
        return verification.sound
    for problem in verification.problems:
        print(f"{problem.place}: {problem.kind}: {problem.detail}")
        for version in problem.downstream:
            print(f"    read by {version}")
    print(f"{verification.checked} versions checked in {store.root}, {len(verification.problems)} problems")
    words = ", ".join(f"{count} {word}" for word, count in verification.reproducible.items())
    print(f"reproducible: {words or 'none'}")
    for leftover in verification.leftovers:
        print(f"left by a killed process, removed by the next run: {leftover}")
    return verification.sound


def _refuse_unmade(store: ArtifactStore, experiment: str, asset: str, iteration: int) -> None:
    """Names the iterations that there are where another one is asked for, or none."""
    made = sorted(head.iteration for head in store.heads(experiment) if head.asset == asset)
    if made and iteration not in made:
        raise typer.BadParameter(
            f"{asset} of {experiment} was made in iteration {', '.join(map(str, made))}: name one, as in -i {made[-1]}"
        )


def _refuse_unknown(asset: str) -> None:
    if asset == ROLE:
        raise typer.BadParameter(
            f"{ROLE} is kept under what made it: initial_policy for iteration 1, for others the improved_policy of the "
            "iteration before"
        )
    if asset not in asset_names():
        raise typer.BadParameter(f"no asset {asset!r}; there are: {', '.join(asset_names())}")
