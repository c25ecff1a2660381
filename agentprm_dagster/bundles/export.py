"""Writes a bundle: what one iteration has made, with everything that a stranger needs to check it."""

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from os.path import lexists
from pathlib import Path
from re import fullmatch
from tempfile import mkdtemp

from agentprm_dagster.bundles.cards import write_cards
from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.bundles.files import copy_files, open_to_all
from agentprm_dagster.bundles.games import PlayedGames, played_games
from agentprm_dagster.bundles.licences import write_licences
from agentprm_dagster.bundles.opened import lineage_place, open_bundle
from agentprm_dagster.bundles.record import (
    BUNDLE,
    EVALUATION,
    GAMES,
    HUB_NAME,
    LOCK,
    POLICY,
    REWARD,
    ROLLOUTS,
    SETTINGS,
    TARGETS,
    WRITER,
    Bundle,
    Part,
)
from agentprm_dagster.bundles.records_agree import check_records
from agentprm_dagster.config import Experiment
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.code import current_code
from agentprm_dagster.provenance.contents import describe
from agentprm_dagster.provenance.durable import sync, sync_tree
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.lineage import LineageGraph, with_ancestors
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.stages.evaluations import evaluated

_ROOT = Path(__file__).parents[2]
"""The checkout, where this is one."""


def export(store: ArtifactStore, experiment: Experiment, iteration: int, hub: str | None, out: Path) -> Bundle:
    """Writes the bundle of an iteration's policy into the new folder `out`, in one step.

    Raises:
        BundleError: something is there already, the iteration does not belong to the current run of the loop, or the
            settings or games are no longer those that it was made with.
        ArtifactError: something of the iteration or of its lineage is missing or damaged.
        TasksNotFoundError: the games that were played are not on this machine.
    """
    _refuse_odd_name(hub)
    _refuse_existing(out)
    if (kind := experiment.improvement).reward is None:
        raise BundleError(
            f"{experiment.name} trains no PRM (improvement.kind: {kind.kind}), and a bundle holds one with its policy: "
            "export an experiment that trains one"
        )
    parts = _parts(store, experiment.name, iteration)
    lineage = _lineage(store, parts.values())
    games = _games(experiment, parts)
    with _written_beside(out) as folder:
        for part, artifact in parts.items():
            copy_files(artifact, folder / part)
        for made in lineage:
            _write(folder / lineage_place(made.version), made.manifest.to_json())
        _write(folder / SETTINGS, settings_text(experiment))
        _write(folder / GAMES, json.dumps(games.digests(), indent=1))
        write_licences(folder, experiment)
        if (_ROOT / LOCK).is_file():
            shutil.copyfile(_ROOT / LOCK, folder / LOCK)
        record = Bundle(
            format="agentprm-bundle-1",
            experiment=experiment.name,
            iteration=iteration,
            hub=hub,
            exported_by=current_code(WRITER),
            contents={part: artifact.version for part, artifact in parts.items()},
            files=(),
        )
        opened = open_bundle(folder, record)
        if differences := check_records(opened).differences:
            raise BundleError(f"{experiment.name}, iteration {iteration}: {'; '.join(differences[:5])}")
        write_cards(opened)
        record = replace(record, files=describe(folder))
        _write(folder / BUNDLE, record.to_json())
        open_to_all(folder)
    return record


def _refuse_odd_name(hub: str | None) -> None:
    if hub and not fullmatch(HUB_NAME, hub):
        raise BundleError(f"--hub: expected a user or an organisation of the Hugging Face hub, got {hub[:100]!r}")


def _refuse_existing(out: Path) -> None:
    if lexists(out):
        raise BundleError(f"{out} is there already, and nothing is overwritten: name a new folder, or remove this one")
    if not out.parent.is_dir():
        raise BundleError(f"{out.parent} is no folder: make it, or name another place")


def _parts(store: ArtifactStore, experiment: str, iteration: int) -> dict[Part, Artifact]:
    """The artifacts of an iteration, every byte checked: the evaluation, and what it and its inputs were made from."""
    loop = evaluated(store, experiment)
    if iteration not in loop.iterations:
        there = ", ".join(map(str, loop.iterations)) or "none"
        raise BundleError(
            f"{experiment} has no evaluation of iteration {iteration} that belongs to the current run of its loop; "
            f"there are: {there}. {' '.join(loop.left_out)}".strip()
        )
    evaluation = store.current(experiment, "eval_report", iteration)
    policy = _input(store, evaluation, "improved_policy")
    reward = _input(store, evaluation, "prm", "inverse_prm")
    parts: dict[Part, Artifact] = {
        POLICY: policy,
        REWARD: reward,
        ROLLOUTS: _input(store, policy, "rollouts"),
        EVALUATION: evaluation,
    }
    if any(read.role == "mc_value_targets" for read in reward.manifest.inputs):
        parts[TARGETS] = _input(store, reward, "mc_value_targets")
    return parts


def _input(store: ArtifactStore, artifact: Artifact, *roles: str) -> Artifact:
    """What an artifact has read in the first of these roles that it has an input of."""
    for read in artifact.manifest.inputs:
        if read.role in roles:
            return store.resolve(read)
    raise ArtifactError(f"{artifact.version} was made from no {' or '.join(roles)}")


def _lineage(store: ArtifactStore, artifacts: Iterable[Artifact]) -> list[Artifact]:
    """The artifacts and everything that they were made from."""
    found = with_ancestors(store, *(artifact.version for artifact in artifacts))
    there = {made.version for made in found}
    if missing := [str(version) for version in LineageGraph(found).versions() if version not in there]:
        raise ArtifactError(
            f"{', '.join(missing)} cannot be read, so that nobody could check what was made from it: `agentprm verify` "
            "says what is wrong"
        )
    return found


def _games(experiment: Experiment, parts: dict[Part, Artifact]) -> PlayedGames:
    """The games that were played; BundleError where those on this machine are others."""
    games = played_games(experiment, parts[ROLLOUTS].manifest)
    for part in (ROLLOUTS, EVALUATION):
        if not games.are_those_of(parts[part].manifest):
            raise BundleError(
                f"{parts[part].version} was played in other games than those that are here now: bring them back, or "
                f"run {experiment.name} again"
            )
    return games


def settings_text(experiment: Experiment) -> str:
    """All settings, a section a line; JSON is YAML, and says text and numbers without doubt."""
    values = experiment.model_dump(mode="json", exclude={"name"})
    return "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@contextmanager
def _written_beside(out: Path) -> Iterator[Path]:
    """A hidden folder that becomes `out` once it is whole, or is removed."""
    folder = Path(mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield folder
        sync_tree(folder)
        _refuse_existing(out)
        folder.rename(out)
        sync(out.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
