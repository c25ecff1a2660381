"""pi_i of a bundle plays its evaluation again, greedily, on this machine."""

from collections.abc import Mapping
from typing import Any

from agentprm_dagster.algorithm.statistics import ComparisonError, paired_difference
from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.bundles.findings import Check
from agentprm_dagster.bundles.games import PlayableGames
from agentprm_dagster.bundles.opened import Opened
from agentprm_dagster.bundles.played_tables import read_played
from agentprm_dagster.bundles.record import EVALUATION, POLICY
from agentprm_dagster.config.catalog import chosen_compute, load_compute
from agentprm_dagster.engine.base_model import BaseModelError
from agentprm_dagster.engine.checkpoint_files import CheckpointError
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.launch.play import Play
from agentprm_dagster.provenance.environment import environment
from agentprm_dagster.reports.evaluation import folder_name
from agentprm_dagster.resources.inference import InferenceResource
from agentprm_dagster.stages.available import require
from agentprm_dagster.stages.trials import once
from agentprm_dagster.workers import WorkerError

_DECIDES = ("processor", "products", "torch", "transformers", "engine.kind")
"""What of a machine decides the last bits of a logit."""


def check_play(opened: Opened, games: PlayableGames) -> Check:
    """Plays the greedy rows of pi_i again.

    The same machine, by what the manifest says of it, must give the same episodes; another one may decide a close
    answer otherwise, and then what it gave is told and is no difference.
    """
    rows = [row for row in opened.rows if row["iteration"] == opened.record.iteration and row["ranked_by"] is None]
    whole = [
        row for row in rows if games.refs.get(row["split"], {}).keys() == opened.games.get(row["split"], {}).keys()
    ]
    not_done = tuple(f"{row['split']}: its games are not all on this machine" for row in rows if row not in whole)
    try:
        before = [read_played(opened.folder / EVALUATION / folder_name(row)) for row in whole]
        after = _play(opened, games, whole)
        told = [_compared(*each) for each in zip(whole, before, after, strict=True)]
    except BaseModelError as error:
        return Check("play", "nothing", not_done=(*not_done, str(error)))
    except (BundleError, CheckpointError, ComparisonError, WorkerError) as error:
        return Check("play", "nothing", (str(error),), not_done)
    if not _same_machine(opened):
        return Check("play", "; ".join(["another machine, may differ", *told]), (), not_done)
    different = [sentence for each in zip(whole, before, after, strict=True) for sentence in _different(*each)]
    return Check("play", "; ".join(["must be the same", *told]), tuple(different), not_done)


def _play(opened: Opened, games: PlayableGames, rows: list[dict[str, Any]]) -> list[list[Episode]]:
    """The episodes of each row's games, played on this machine's compute."""
    experiment, compute = opened.experiment, load_compute(chosen_compute())
    require(compute)
    plays = {
        folder_name(row): Play(
            policy=opened.folder / POLICY,
            iteration=row["iteration"],
            environment=experiment.environment.kind,
            split=row["split"],
            games=tuple(games.refs[row["split"]].values()),
            dialogue=experiment.dialogue.format,
            how=once(experiment, experiment.evaluation.max_steps, None),
            seed=row["seed"],
            engine=compute.engine,
        )
        for row in rows
    }
    embedded = experiment.model.name == "embedded"
    played = InferenceResource().play(plays, SilentMonitor(), embedded=embedded, where=compute.playing)
    return [each.episodes for each in played.values()]


def _same_machine(opened: Opened) -> bool:
    """Whether this machine computes as that of the evaluation did."""
    here = {**environment(), "engine.kind": load_compute(chosen_compute()).engine.kind}
    made = opened.manifest(EVALUATION)
    return made.reproducible == "bitwise" and all(made.environment.get(name) == here[name] for name in _DECIDES)


def _compared(row: Mapping[str, Any], before: list[Episode], again: list[Episode]) -> str:
    """Both success rates, and which games only one of them won."""
    apart = paired_difference(_won(again), _won(before))
    now = sum(_won(again).values()) / apart.n
    return (
        f"{row['split']} n = {apart.n}: {row['success_rate']:.1%} in the bundle, {now:.1%} here (won here alone "
        f"{apart.won_alone}, there alone {apart.lost_alone})"
    )


def _different(row: Mapping[str, Any], before: list[Episode], again: list[Episode]) -> list[str]:
    """The episodes that are not the same to the last byte."""
    here = {episode.game: episode for episode in again}
    return [
        f"{row['split']}: episode {episode.episode_id} was played otherwise: reward {episode.reward:g} in the bundle, "
        f"{here[episode.game].reward:g} here"
        for episode in before
        if here[episode.game] != episode
    ]


def _won(episodes: list[Episode]) -> dict[str, bool]:
    return {episode.game: episode.won for episode in episodes}
