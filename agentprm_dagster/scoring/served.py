"""A model behind an OpenAI-compatible server as an agent; its answers are kept, and are never paid for twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import environ
from pathlib import Path

from agentprm_dagster.config import Llm
from agentprm_dagster.engine.served.served_model import KEY, MODEL, LlmError, ServedModel
from agentprm_dagster.envs.base import Task
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.home import journals_folder
from agentprm_dagster.provenance.canonical import digest_of
from agentprm_dagster.resources.served_play import play_served
from agentprm_dagster.rollouts.collect import whole_episodes
from agentprm_dagster.scoring.card import EvaluationProtocol
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.players import AgentRecord, Played
from agentprm_dagster.scoring.policies import LONG_ANSWER, Wishes
from agentprm_dagster.scoring.prompts import PromptName, asking


@dataclass(frozen=True)
class ServedPlayer:
    """A served model, asked by this process, several games at a time."""

    record: AgentRecord
    model: ServedModel
    settings: Llm
    environment: str
    prompt: PromptName

    @property
    def draws(self) -> bool:
        """Whether answers are drawn, as far as the temperature tells."""
        return self.settings.temperature != 0

    @property
    def games_at_once(self) -> int:
        """Enough to keep all requests busy."""
        return 4 * self.settings.concurrency

    def play(self, games: Sequence[Task], *, seed: int, max_steps: int, monitor: Monitor) -> Played:
        """See `Player`.

        Raises:
            ScoreError: the server failed, refused most games or the budget is spent; the answers so far are kept.
        """
        asked = asking(self.prompt, kind_of(self.environment).wording)
        try:
            return play_served(
                self.model,
                self.settings,
                self._journal(seed, asked.text),
                whole_episodes(games, per_game=1),
                prompt=asked.prompt,
                max_steps=max_steps,
                monitor=monitor,
                parse=asked.parse,
                without=asked.without,
            )
        except LlmError as error:
            raise ScoreError(f"{error}") from None

    def _journal(self, seed: int, text: str) -> Path:
        """Of this model, prompt and seed, whatever games are played: a question names its game."""
        key: list[object] = [
            self.model.name,
            self.model.host,
            text,
            self.settings.temperature,
            self.settings.max_new_tokens,
            seed,
        ]
        key += [self.settings.request] if self.settings.request else []
        return journals_folder() / f"score-llm-{digest_of(key)[:16]}.jsonl"


def served_player(
    url: str, model: str | None, environment: str, wishes: Wishes
) -> tuple[ServedPlayer, EvaluationProtocol]:
    """The model of this name at a server, and how it is asked; the key is the environment's.

    Raises:
        ScoreError: no model is named, the URL is none, or a PRM was asked for.
    """
    name = model or environ.get(MODEL, "")
    if not name:
        raise ScoreError(f"which model at the server: name it with --model, or in {MODEL}")
    if wishes.best_of > 1:
        raise ScoreError("--best-of needs the PRM of an experiment, which a server has not")
    try:
        served = ServedModel(name, url, environ.get(KEY) or "none")  # servers of one's own ask for none
    except LlmError as error:
        raise ScoreError(f"{error}") from None
    prompt: PromptName = wishes.prompt or "paper"
    usual = LONG_ANSWER if prompt == "verl-agent" else 256
    asked = {
        "temperature": 0.3 if wishes.temperature is None else wishes.temperature,
        "max_new_tokens": wishes.max_new_tokens or usual,
    }
    settings = Llm.model_validate({**asked, **wishes.llm})
    record = AgentRecord(name=name, kind="served", details={"server": served.host, "environment": environment})
    player = ServedPlayer(record, served, settings, environment, prompt)
    protocol = EvaluationProtocol(
        prompt=prompt,
        text=asking(prompt, kind_of(environment).wording).text,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        request=settings.request,
    )
    return player, protocol
