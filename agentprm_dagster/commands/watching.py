"""`agentprm watch`: episodes turn by turn, with what the PRM says of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import typer
from rich.console import Console

from agentprm_dagster.agents.best_of_n import BestOfN
from agentprm_dagster.agents.noting_judge import Candidate, NotingJudge
from agentprm_dagster.commands.turns import Keys, show
from agentprm_dagster.commands.watch import Wanted
from agentprm_dagster.config import Experiment
from agentprm_dagster.config.catalog import load_compute, load_experiment
from agentprm_dagster.config.problems import shortened
from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.episodes.values import read_values
from agentprm_dagster.episodes.visible import visible
from agentprm_dagster.iterations import FIRST
from agentprm_dagster.launch.play import Choice, Play, Valued
from agentprm_dagster.launch.worker import play_games, ready, values_of
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.reports.episode_page import episode_page
from agentprm_dagster.reports.evaluation import folder_name
from agentprm_dagster.reports.watched import Group, Watched
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.stages.available import require
from agentprm_dagster.stages.evaluations import rows_of
from agentprm_dagster.stages.trials import once

ON_A_PAGE = 40
"""Most episodes that are written into a page."""
NEAR = 3
"""How many names are told that are like an unknown one."""


@dataclass(frozen=True)
class Stored:
    """Episodes that are in the store."""

    episodes: list[Watched]
    """With their values, as far as these are there."""
    reward: str
    """Which kind of reward model their iteration has."""
    valued_by: Valued
    """Its checkpoint."""


def watch_episodes(wanted: Wanted, live: int | None, html: Path | None, compute: str) -> None:
    """Shows the first episode that is wanted, or writes a page of several.

    Args:
        live: of how many answers the PRM chooses where the game is played now; None: what is stored is shown.

    Raises:
        ArtifactError: the episodes, the policy or the reward model have not been made.
        MissingError: this machine lacks what the compute asks for.
    """
    experiment, store = load_experiment(wanted.experiment), ArtifactsResource().store()
    require(load_compute(compute))
    stored = _stored(store, experiment, wanted)
    play = _play(experiment, wanted, stored, compute)
    found = _chosen(wanted, stored, play)
    candidates: list[list[Candidate]] = []
    if live:
        game = _game(experiment, wanted, found[0].episode.game)
        asset = "improved_policy" if wanted.iteration else "initial_policy"
        policy = store.current(experiment.name, asset, wanted.iteration).path
        played, candidates = _played(replace(play, policy=policy, games=(game,)), experiment, stored, live)
        found = [played]
    shown = _read(play, stored, found[:ON_A_PAGE] if html else found[:1])
    task = kind_of(play.environment).wording.task
    if html:
        about = f"{len(shown)} of {len(found):,} episodes."
        title = f"{wanted.experiment}: {wanted.asset}[{wanted.iteration}]"
        html.write_text(episode_page(title, about, [Group("Chosen", "", shown)], task), encoding="utf-8")
        print(f"{len(shown)} episodes: {html}")
        return
    show(shown[0], task, Console(highlight=False), Keys(), candidates)
    if len(found) > 1:
        choose = "--game, --episode, --won, --lost and --surprising choose"
        print(f"\nThe first of {len(found):,} such episodes; {choose}.")


def _stored(store: ArtifactStore, experiment: Experiment, wanted: Wanted) -> Stored:
    """What the asset has kept of the policy's episodes."""
    reward = experiment.improvement.reward
    if reward is None:
        raise typer.BadParameter(
            f"{experiment.name} trains no PRM (improvement.kind: {experiment.improvement.kind}) that could say what "
            "its turns are worth; the page of eval_report shows its episodes without"
        )
    observations = reward == "prm" and experiment.prm.reply_weight > 0
    iteration = max(wanted.iteration, FIRST) if wanted.asset == "eval_report" else wanted.iteration
    made = store.current(experiment.name, wanted.asset, iteration)
    if wanted.asset == "rollouts":
        prm = store.current(experiment.name, reward, iteration)
        episodes = _with_values(made.path, f"pi_{iteration - 1}, train")
        return Stored(episodes, reward, Valued(prm.path, observations))
    prm = store.resolve(next(read for read in made.manifest.inputs if read.role == reward))
    rows = [row for row in rows_of(made) if row["policy"] == f"pi_{wanted.iteration}" and not row["world"]]
    known = sorted({row["best_of"] for row in rows})
    if wanted.best_of not in known:
        raise typer.BadParameter(
            f"{made.version} has no episodes of pi_{wanted.iteration} with --best-of {wanted.best_of}; it has them of "
            f"{', '.join(map(str, known))}. --live plays with any"
        )
    rows = [row for row in rows if row["best_of"] == wanted.best_of and row["ranked_by"] in (None, reward)]
    episodes = [
        each
        for row in rows
        for each in _with_values(made.path / folder_name(row), f"pi_{wanted.iteration}, {row['split']}")
    ]
    return Stored(episodes, reward, Valued(prm.path, observations))


def _with_values(folder: Path, played: str) -> list[Watched]:
    values = read_values(folder)
    return [Watched(each, values.get(each.episode_id, ()), played) for each in read_episodes(folder)]


def _play(experiment: Experiment, wanted: Wanted, stored: Stored, compute: str) -> Play:
    """How its policy plays alone, without games."""
    return Play(
        policy=stored.valued_by.prm,
        iteration=wanted.iteration,
        environment=experiment.environment.kind,
        split="",
        games=(),
        dialogue=experiment.dialogue.format,
        how=once(experiment, experiment.evaluation.max_steps, None),
        seed=experiment.seed,
        engine=load_compute(compute).engine,
    )


def _chosen(wanted: Wanted, stored: Stored, play: Play) -> list[Watched]:
    """The episodes that are wanted, in the order in which they are to be shown; at least one."""
    found = stored.episodes
    if wanted.game is not None:
        games = _named("game", wanted.game, [each.episode.game for each in found])
        found = [each for each in found if each.episode.game in games]
    if wanted.episode is not None:
        names = _named("episode", wanted.episode, [each.episode.episode_id for each in found])
        found = [each for each in found if each.episode.episode_id in names]
    if wanted.won is not None:
        found = [each for each in found if each.episode.won == wanted.won]
    if not found:
        raise typer.BadParameter(
            f"none of {len(stored.episodes):,} episodes fits all of --game, --episode, --won, --lost: leave one out"
        )
    if wanted.surprising:
        read = [each for each in found if each.values] or _read(play, stored, found)
        return sorted(read, key=lambda each: each.surprise, reverse=True)
    return found


def _named(what: str, asked: str, names: Sequence[str]) -> set[str]:
    """The names that are or hold what was asked for."""
    known = dict.fromkeys(names)
    found = {asked} & known.keys() or {name for name in known if asked in name}
    if not found:
        near = get_close_matches(asked, known, NEAR, cutoff=0.3) or list(known)[:NEAR]
        raise typer.BadParameter(
            f"no {what} {shortened(visible(asked))!r} among the {len(known):,} here; near it are: {', '.join(near)}"
        )
    return found


def _read(play: Play, stored: Stored, episodes: Sequence[Watched]) -> list[Watched]:
    """The same, all with values."""
    unread = [each.episode for each in episodes if not each.values]
    values = values_of(play, stored.valued_by, unread) if unread else {}
    return [each if each.values else replace(each, values=values[each.episode.episode_id]) for each in episodes]


def _game(experiment: Experiment, wanted: Wanted, name: str) -> TaskRef:
    """A game by its id, among those that the asset's episodes are of."""
    source, environment, seed = TasksResource(), experiment.environment, experiment.seed
    if wanted.asset == "rollouts":
        games = source.train(environment, seed)
    else:
        counted = experiment.evaluation
        games = tuple(
            each for split in counted.splits for each in source.split(environment, seed, split, counted.games)
        )
    return next(each for each in games if each.id == name)


def _played(play: Play, experiment: Experiment, stored: Stored, best_of: int) -> tuple[Watched, list[list[Candidate]]]:
    """The play's game, played now, and the candidates of each turn; none where the policy plays alone."""
    if best_of > 1:
        choice = Choice(stored.reward, stored.valued_by.prm, best_of, experiment.evaluation.best_of_prior)
        play = replace(play, choice=choice, how=once(experiment, play.how.max_steps, choice))
    agent = ready(play)
    noted = None
    if isinstance(agent, BestOfN):
        agent.judge = noted = NotingJudge(agent.judge, agent.chat)
    (episode,) = play_games(agent, play, SilentMonitor())
    who = f"pi_{play.iteration}" if best_of == 1 else f"best of {best_of} from pi_{play.iteration}"
    return Watched(episode, (), f"{who}, played now"), noted.turns if noted else []
