"""Checkpoints as players of games."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import dagster as dg

from agentprm_dagster.config import Rollouts
from agentprm_dagster.engine.settings import EngineSettings
from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.stage import Monitor, Resume
from agentprm_dagster.home import games_scratch_folder
from agentprm_dagster.launch.cores import cores
from agentprm_dagster.launch.pool import Played, Task, play_in_processes
from agentprm_dagster.launch.worker import Player
from agentprm_dagster.provenance.lock import held_folder


class InferenceResource(dg.ConfigurableResource):
    """Plays with the experiment's engine, a small model in several processes."""

    processes: int = 0
    """Processes that play at the same time; 0: one a core for a small model on the embedded engine, else one."""

    def rollouts(
        self,
        checkpoint: Path,
        how: Rollouts,
        games: Sequence[TaskRef],
        *,
        environment: str,
        dialogue: Format,
        engine: EngineSettings,
        embedded: bool,
        shown: Path,
        placed_by: Path | None,
        seed: int,
        monitor: Monitor,
        resume: Resume,
    ) -> Played:
        """Everything that one iteration rolls out; `shown` are the tables of demonstrations, `placed_by` is a PRM."""
        at = shown if how.expert_starts else None
        player = Player(checkpoint, environment, dialogue, how, shown=at, placed_by=placed_by, engine=engine)
        (played,) = self.play([Task("", player, tuple(games), seed)], monitor, resume, embedded=embedded)
        return played

    def play(
        self, tasks: Sequence[Task], monitor: Monitor, resume: Resume | None = None, *, embedded: bool
    ) -> list[Played]:
        """What came of every task; the same whatever the number of processes, of which the embedded model has several.

        With `resume` the shards that an earlier attempt has played are not played again.
        """
        there = cores()
        small = embedded and all(task.player.engine.kind == "embedded" for task in tasks)
        with nullcontext(resume.folder) if resume else held_folder(games_scratch_folder()) as scratch:
            return play_in_processes(
                tasks,
                processes=self.processes or (there if small else 1),
                threads=1 if small else there,
                scratch=scratch,
                monitor=monitor,
            )
