"""`agentprm lineage` and `agentprm verify`: answers from the manifests alone."""

import json
from pathlib import Path

import typer
from rich.console import Console

from agentprm_dagster.provenance.announcements import ROLE
from agentprm_dagster.provenance.code import asset_modules
from agentprm_dagster.provenance.drawing import draw, text_tree
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.lineage import lineage
from agentprm_dagster.provenance.verify import verify
from agentprm_dagster.resources.artifacts import ArtifactsResource


def print_lineage(
    experiment: str,
    asset: str,
    iteration: int,
    digest: str | None,
    picture: Path | None,
    *,
    down: bool,
    as_json: bool,
) -> None:
    """Prints what made an artifact, or what was made from it; draws it where a file is named.

    Raises:
        ArtifactError: there is no such version, or a manifest is damaged.
    """
    _refuse_unknown(asset)
    found = lineage(
        ArtifactsResource().store(), experiment, asset, iteration, digest, "downstream" if down else "upstream"
    )
    if picture:
        draw(found, picture)
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        Console().print(text_tree(found))
        for place in found.unread:
            typer.secho(f"{place} cannot be read and was left out: `agentprm verify` says why", fg="yellow", err=True)


def asset_names() -> list[str]:
    """The assets that artifacts are kept under."""
    return [name for name in asset_modules() if name != ROLE]


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


def _refuse_unknown(asset: str) -> None:
    if asset == ROLE:
        raise typer.BadParameter(
            f"{ROLE} is kept under what made it: initial_policy for iteration 1, for others the improved_policy of the "
            "iteration before"
        )
    if asset not in asset_names():
        raise typer.BadParameter(f"no asset {asset!r}; there are: {', '.join(asset_names())}")
