"""Every episode of a bundle played again: the same commands must lead to the same observations and the same reward."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.bundles.findings import Check
from agentprm_dagster.bundles.games import PlayableGames
from agentprm_dagster.bundles.opened import TRAIN, Opened
from agentprm_dagster.bundles.played_tables import read_played
from agentprm_dagster.bundles.record import EVALUATION, ROLLOUTS
from agentprm_dagster.envs.base import EnvironmentKind, Task, TaskRef
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.reports.evaluation import folder_name


def check_replays(opened: Opened, games: PlayableGames) -> Check:
    """Replays the evaluated episodes and the rollouts, as far as their games are here."""
    replay = _Replay(opened.kind, games)
    for row in opened.rows:
        place = f"{EVALUATION}/{folder_name(row)}"
        replay.table(place, opened.folder / place, row["split"], once=opened.games.get(row["split"], {}))
    replay.table(ROLLOUTS, opened.folder / ROLLOUTS, TRAIN, once=None)
    counted = f"{replay.episodes} episodes, {replay.turns} turns replayed"
    return Check("replay", counted, tuple(replay.differences), tuple(replay.not_done))


class _Replay:
    """What was found so far."""

    def __init__(self, kind: EnvironmentKind, games: PlayableGames) -> None:
        self.episodes = self.turns = 0
        self.differences: list[str] = []
        self.not_done: list[str] = []
        self._kind, self._refs = kind, games.refs

    def table(self, place: str, folder: Path, split: str, once: Iterable[str] | None) -> None:
        """Replays the episodes of a folder; `once` are the games that must have been played in it, each once."""
        try:
            episodes = read_played(folder)
        except BundleError as error:
            self.differences.append(str(error))
            return
        if once is not None:
            played = Counter(episode.game for episode in episodes)
            odd = [game for game in sorted({*once, *played}) if played[game] != 1 or game not in set(once)]
            self.differences += [f"{place}: game {game} was played {played[game]} times" for game in odd]
        refs, missing = self._refs.get(split, {}), 0
        for ref, same_game in _by_game(episodes, refs):
            if ref is None:
                missing += len(same_game)
                continue
            task = self._kind.open(ref)
            for episode in same_game:
                found = next(differences(task, episode), None)
                self.differences += [f"{place}: episode {episode.episode_id}: {found}"] if found else []
                self.episodes, self.turns = self.episodes + 1, self.turns + len(episode.turns)
        if missing:
            self.not_done.append(f"{place}: {missing} episodes, whose games are not on this machine")


def _by_game(
    episodes: Iterable[Episode], refs: Mapping[str, TaskRef]
) -> Iterator[tuple[TaskRef | None, list[Episode]]]:
    """The episodes of every game together, so that its file is read once."""
    games: dict[str, list[Episode]] = {}
    for episode in episodes:
        games.setdefault(episode.game, []).append(episode)
    return ((refs.get(game), same_game) for game, same_game in games.items())


def differences(task: Task, episode: Episode) -> Iterator[str]:
    """How an episode differs from its replay; after the first one the rest says little."""
    if episode.task_type != task.kind:
        yield f"its task is written down as {episode.task_type}, and is {task.kind}"
    environment = task.environment()
    observation = environment.reset()
    if observation.text != episode.first_observation:
        yield f"it begins with {episode.first_observation!r}, and its game with {observation.text!r}"
    for t, turn in enumerate(episode.turns):
        said = parse_answer(turn.response)
        if t >= episode.start and (said.reason, said.action, said.parsed) != (turn.reason, turn.action, turn.parsed):
            yield f"turn {t} is written down as {turn.action!r}, and its answer says {said.action!r}"
        if observation.done:
            yield f"turn {t} is written down, and the game was over before it"
        if turn.admissible != observation.admits(turn.action):
            yield f"turn {t}: admissible is written down as {turn.admissible}, which {turn.action!r} was not"
        observation = environment.step(turn.action)
        if observation.text != turn.observation:
            yield f"turn {t}: {turn.action!r} led to {turn.observation!r}, and in the replay to {observation.text!r}"
    if observation.reward != episode.reward:
        yield f"its reward is written down as {episode.reward:g}, and the replay gave {observation.reward:g}"
    if (truncated := not observation.done or observation.truncated) != episode.truncated:
        yield f"it is written down as truncated: {episode.truncated}, and the replay says {truncated}"
