"""Demonstrations that look into the likeliest places first, replayed.

An expert's demonstrations tell where things are found. Who looks there first needs fewer commands than the expert did;
what is done with what is found remains the expert's plan. Not in the paper.
"""

from collections.abc import Callable, Sequence

from agentprm_dagster.envs.base import EnvironmentKind, OrdersSearch, SearchOrder, Task
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.rollouts.demonstrations import Demonstration
from agentprm_dagster.rollouts.plans import do_planned, plan_of


def likeliest_first(
    episodes: Sequence[Episode],
    games: Sequence[Task],
    kind: EnvironmentKind,
    begin: Callable[..., Demonstration],
    *,
    copies: int,
    seed: int,
    monitor: Monitor,
) -> list[Episode]:
    """Won episodes as `copies` each that look for things in a better order; lost ones as they are.

    Copies differ by the mistakes in them alone (`rollouts.demonstrations.Demonstration`). An episode of which none wins
    stays as it is.

    Args:
        games: of all episodes.
        begin: `Demonstration` of a game and a `seed`; how long it may last and how often it errs is decided there.

    Raises:
        TypeError: the kind of environment knows no order.
    """
    searched = in_order(kind)
    by_id = {game.id: game for game in games}
    order = searched.search_order([episode for episode in episodes if episode.won])

    def copy(episode: Episode, name: str) -> Episode:
        play = begin(by_id[episode.game], seed=f"{seed} mistakes {name}")
        return play_in_order(play, plan_of(episode, searched), order, searched, name)

    found: list[Episode] = []
    for i, episode in enumerate(episodes):
        names = [f"{episode.episode_id}~{number}" for number in range(copies if episode.won else 0)]
        found += [each for each in (copy(episode, name) for name in names) if each.won] or [episode]
        if i % 200 == 199 or i == len(episodes) - 1:
            monitor.progress(i + 1, len(episodes), "demonstrations copied")
    return found


def in_order(kind: EnvironmentKind) -> OrdersSearch:
    """The kind of environment, which knows an order.

    Raises:
        TypeError: it knows none.
    """
    if not isinstance(kind, OrdersSearch):
        raise TypeError(f"expected a kind of environment that knows where to look first, got {kind.name}")
    return kind


def play_in_order(
    play: Demonstration, plan: Sequence[str], order: SearchOrder, kind: OrdersSearch, episode_id: str, start: int = 0
) -> Episode:
    """Plays a begun game on, to its end or to where nothing is left to do; the episode's own turns begin at `start`."""
    while not play.over:
        before = len(play.turns)
        commands = order.next_commands(play.first_observation, play.turns, plan)
        if not do_planned(play, commands, kind) or len(play.turns) == before:
            break
    return play.episode(episode_id, start)
