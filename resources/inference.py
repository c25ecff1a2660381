"""Checkpoints as players of games."""

from collections.abc import Mapping
from contextlib import nullcontext

import dagster as dg

from agentprm_dagster.config import PlayingCompute
from agentprm_dagster.episodes.stage import Monitor, Resume
from agentprm_dagster.home import games_scratch_folder
from agentprm_dagster.launch.cores import cores
from agentprm_dagster.launch.on_ray.playing import RayPlayers
from agentprm_dagster.launch.play import Play
from agentprm_dagster.launch.pool import Played, Players, play_in_shards
from agentprm_dagster.launch.processes import Processes
from agentprm_dagster.provenance.lock import held_folder

THIS_MACHINE = PlayingCompute()


class InferenceResource(dg.ConfigurableResource):
    """Plays with the engine of each play, a small model in several processes."""

    processes: int = 0
    """Processes that play at the same time; 0: one a core for a small model on the embedded engine, else one."""

    def play(
        self,
        plays: Mapping[str, Play],
        monitor: Monitor,
        resume: Resume | None = None,
        *,
        embedded: bool,
        where: PlayingCompute = THIS_MACHINE,
    ) -> dict[str, Played]:
        """What came of every play, by its name.

        It is the same wherever it is played and by however many processes, of which the embedded model has several.
        With `resume` the shards that an earlier attempt has played are not played again.
        """
        small = embedded and all(play.engine.kind == "embedded" for play in plays.values())
        with nullcontext(resume.folder) if resume else held_folder(games_scratch_folder()) as scratch:
            return play_in_shards(plays, self._players(where, small=small), scratch=scratch, monitor=monitor)

    def _players(self, where: PlayingCompute, *, small: bool) -> Players:
        if where.launch == "ray":
            return RayPlayers(where)
        available = cores()
        return Processes(self.processes or (available if small else 1), threads=1 if small else available)
