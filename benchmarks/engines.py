"""Engines side by side: decisions a second in the same games, of the small model and of SmolLM2-135M where it is.

vLLM is measured where AGENTPRM_VLLM names it. The baseline is transformers, which reads every conversation anew.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from os import environ
from pathlib import Path

import torch

from agentprm_dagster.agents.policy import Policy
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.base import Closing
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.kind import Settings as Embedded
from agentprm_dagster.engine.kinds import engine_kind
from agentprm_dagster.engine.settings import EngineSettings
from agentprm_dagster.engine.smollm2 import SmolLM2MissingError, smollm2_folder
from agentprm_dagster.engine.transformers.kind import Settings as Transformers
from agentprm_dagster.engine.vllm.kind import Settings as Vllm
from agentprm_dagster.engine.vllm.server import PYTHON
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.launch.cores import cores
from agentprm_dagster.rollouts.collect import whole_episodes
from agentprm_dagster.rollouts.rollout import play
from benchmarks.measure import Row, rate, summarise
from benchmarks.rollouts import decisions
from benchmarks.workload import playable, policy

RUNS = 3


@dataclass(frozen=True)
class Trial:
    """A model and the games that it plays."""

    name: str
    checkpoint: Path
    games: int
    turns: int
    slots: tuple[int, ...]
    threads: int
    """Of this process; vLLM takes its own."""


def run() -> list[Row]:
    """Greedy, one episode of each game, on all cores for the larger model."""
    return [row for trial in _trials() for row in _side_by_side(trial)]


def _trials() -> Iterator[Trial]:
    # The default's heads are 16 wide; vLLM on a CPU needs 32.
    yield Trial("0.4M", policy(heads=4), games=32, turns=15, slots=(1, 8, 32), threads=1)
    try:
        yield Trial("SmolLM2-135M", smollm2_folder(), games=4, turns=4, slots=(1, 4), threads=cores())
    except SmolLM2MissingError as error:
        print(f"without SmolLM2-135M: {error}")


def _side_by_side(trial: Trial) -> Iterator[Row]:
    torch.set_num_threads(trial.threads)
    engines: list[EngineSettings] = [Embedded(), Transformers()]
    if environ.get(PYTHON):
        engines.append(Vllm(arguments=("--enforce-eager", "--no-enable-chunked-prefill")))
    with ExitStack() as stack:
        loaded = [(settings, _loaded(trial.checkpoint, settings, stack)) for settings in engines]
        for slots in trial.slots:
            runs: dict[str, list[float]] = {settings.kind: [] for settings in engines}
            for _ in range(RUNS):
                for settings, model in loaded:
                    runs[settings.kind].append(_rate(trial, model, settings, slots))
            baseline = runs.pop("transformers")
            for kind, rates in runs.items():
                pairs = list(zip(rates, baseline, strict=True))
                yield summarise(f"{trial.name}, {kind}, {slots} slots", "decisions/s", pairs)


def _loaded(checkpoint: Path, settings: EngineSettings, stack: ExitStack) -> object:
    model = engine_kind(settings.kind).load(checkpoint, "policy", settings)
    if isinstance(model, Closing):
        stack.enter_context(closing(model))
    return model


def _rate(trial: Trial, model: object, settings: EngineSettings, slots: int) -> float:
    engine = engine_kind(settings.kind).open(model, settings, conversations=slots)
    chat = Chat(checkpoints.load_tokenizer(trial.checkpoint), WORDING)
    agent = Policy(engine, chat, dialogue="append", slots=slots, temperature=0.0, max_new_tokens=16, seed=0)
    starts = whole_episodes(playable("train", trial.games), 1)
    monitor = SilentMonitor()
    return rate(lambda: decisions(play(agent, starts, max_steps=trial.turns, total=len(starts), monitor=monitor)))
