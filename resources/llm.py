"""A language model behind a server as a player: asked through a budget, its answers kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from agentprm_dagster.config import Llm
from agentprm_dagster.engine.served.budget import price
from agentprm_dagster.engine.served.served_model import ServedModel
from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.episodes.usage import Asked, Usage
from agentprm_dagster.home import journals_folder
from agentprm_dagster.provenance.canonical import digest_of
from agentprm_dagster.resources.served_play import play_served
from agentprm_dagster.resources.stages import Stage, Work
from agentprm_dagster.rollouts.rollout import Start

LLM_SETTINGS = ("llm.temperature", "llm.max_new_tokens", "llm.request")
"""The settings that decide what a model answers. Waits, prices and budgets do not."""


class LlmResource(dg.ConfigurableResource):
    """The model that the environment names. Dagster shows a resource's configuration, so the key is none of it."""

    def player(self, stage: Stage, games: Sequence[TaskRef]) -> "LlmPlayer":
        """The model as a player of these games in this stage.

        Raises:
            LlmError: the environment names none.
        """
        stage.settings(*LLM_SETTINGS, "gates.max_parse_failures")
        model, settings = ServedModel.from_environment(), stage.unrecorded("llm").llm
        decides = settings.model_dump(mode="json", include={name.split(".")[1] for name in LLM_SETTINGS})
        digest = stage.kind.digest(games)
        key = digest_of([stage.asset, model.name, model.host, decides, digest, stage.seed])
        return LlmPlayer(
            stage, stage.kind.wording, model, settings, journals_folder() / f"{stage.asset}-{key[:16]}.jsonl"
        )


@dataclass(frozen=True)
class LlmPlayer:
    """A language model that plays games as ReAct does."""

    stage: Stage
    wording: Wording
    model: ServedModel
    settings: Llm
    journal: Path
    """Holds every answer from when it came: what was paid for is not asked again, by later code neither."""

    def make(self, work: Work, *, games: Sequence[TaskRef]) -> dg.MaterializeResult:
        """`Stage.make` of what this model decides as well."""
        who = {"llm_model": self.model.name, "llm_server": self.model.host}
        return self.stage.make(work, games=games, identity=who)

    def play(self, starts: Sequence[Start], *, max_steps: int, monitor: Monitor) -> tuple[list[Episode], Asked]:
        """Plays every start with the paper's prompt; see `play_served`."""
        prompt = self.wording.prompt
        return play_served(
            self.model, self.settings, self.journal, starts, prompt=prompt, max_steps=max_steps, monitor=monitor
        )

    def numbers(self, episodes: Sequence[Episode], usage: Usage) -> dict[str, float]:
        """What playing took, and how many answers were of no use; `money` where prices are known."""
        turns = [turn for episode in episodes for turn in episode.turns]
        priced = self.settings.price_read or self.settings.price_drawn
        return {
            "decisions": len(turns),
            "parse_failures": sum(not turn.parsed for turn in turns) / len(turns),
            "inadmissible_actions": sum(not turn.admissible for turn in turns) / len(turns),
            **usage.metrics(),
            **({"money": price(usage, self.settings)} if priced else {}),
        }
