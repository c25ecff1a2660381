"""Episodes in threads, for agents that wait: each is played by itself, and a slow answer holds up no other."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from agentprm_dagster.agents.react import ReAct
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor, SilentMonitor
from agentprm_dagster.episodes.usage import Asked
from agentprm_dagster.rollouts.rollout import Parse, Start, play


def play_side_by_side(
    agent: Callable[[Start], ReAct],
    starts: Sequence[Start],
    *,
    at_once: int,
    max_steps: int,
    stop: Callable[[], None],
    monitor: Monitor,
    parse: Parse = parse_answer,
) -> tuple[list[Episode], Asked]:
    """Plays every start to its end with an agent of its own; the episodes by id, and what all of them took.

    Turns record the commands that were there: such agents are shown them.

    The first error is raised when no episode is under way any more: no other is begun, and `stop` ends those.
    """

    def one(start: Start) -> tuple[Episode, Asked]:
        player = agent(start)
        (episode,) = play(
            player,
            [start],
            max_steps=max_steps,
            total=1,
            monitor=SilentMonitor(),
            keep_candidates=True,
            parse=parse,
        )
        return episode, player.usage

    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(one, start) for start in starts]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                monitor.progress(done, len(futures), "episodes")
        except BaseException:
            stop()
            pool.shutdown(cancel_futures=True)
            raise
    played = [future.result() for future in futures]
    episodes = sorted((episode for episode, _ in played), key=lambda episode: episode.episode_id)
    return episodes, sum((usage for _, usage in played), Asked())
