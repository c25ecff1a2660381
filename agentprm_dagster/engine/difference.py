"""An engine that has played, held against transformers on the same checkpoint: log-probabilities of its answers."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch

from agentprm_dagster.engine.adapters import base_of
from agentprm_dagster.engine.base import Engine
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.checkpoint_files import dtype_of, is_adapter, weight_files
from agentprm_dagster.engine.kinds import engine_kind
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.engine_difference import EngineDifference
from agentprm_dagster.episodes.records import Episode

ANSWERS = 16
"""How many answers are compared."""

# Rounding makes differences of 1e-5 nats in float32: 0.02, which makes a token 2% more likely, is something else than
# rounding. bfloat16 has 8 bits, so that a logit of 20 is known to 0.06, and engines round in different places.
_TOLERANCE = {"float32": 0.02}
_TOLERANCE_OF_HALF = 0.1


def engine_difference(
    engine: Engine, checkpoint: Path, chat: Chat, episodes: Sequence[Episode], dialogue: Format, *, seed: int
) -> EngineDifference:
    """How far an engine is from transformers on some answers, which `seed` chooses.

    Args:
        engine: around the checkpoint's model, a policy; for at least ANSWERS conversations.
        episodes: what it has played, at least one decision.
    """
    played = [(episode, t) for episode in episodes for t in range(episode.start, len(episode.turns))]
    chosen = random.Random(seed).sample(played, min(ANSWERS, len(played)))
    read = [tokens for episode, t in chosen for tokens in chat.conversations(episode, dialogue, [t])]
    prompts, answers = [each.prompt for each in read], [each.ids[len(each.prompt) :] for each in read]
    module = engine_kind("transformers")
    # One by one: the logits of a long conversation take as much memory as a small model.
    settings = module.Settings(device=_device(checkpoint), batch=1)
    reference = module.open(module.load(checkpoint, "policy", settings), settings, conversations=len(read))
    differences = _log_probs(engine, prompts, answers) - _log_probs(reference, prompts, answers)
    a_token = differences.abs() / torch.tensor([len(ids) for ids in answers])
    return EngineDifference(float(a_token.max()), _TOLERANCE.get(dtype_of(checkpoint), _TOLERANCE_OF_HALF))


def _log_probs(engine: Engine, prompts: Sequence[list[int]], answers: Sequence[list[int]]) -> torch.Tensor:
    """log pi (N,) of each answer behind its prompt."""
    for i, prompt in enumerate(prompts):
        engine.begin(i, prompt)
    return engine.log_probs(range(len(prompts)), [[ids] for ids in answers])[:, 0]


def _device(checkpoint: Path) -> str:
    """A GPU with room for the model beside what the engine has there, else the CPU."""
    whole = base_of(checkpoint).folder() if is_adapter(checkpoint) else checkpoint
    needed = 1.5 * sum(path.stat().st_size for path in weight_files(whole))
    return "cuda" if torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > needed else "cpu"
