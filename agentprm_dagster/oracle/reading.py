"""What models say of the oracle's answers: a reward model's logits, a policy's log-probabilities."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from agentprm_dagster.config.kinds import AnyEngine
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.base import Engine, Role
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.kinds import engine_kind
from agentprm_dagster.episodes.dialogue import Format, Wording
from agentprm_dagster.oracle.tables import Oracle

SLOTS = 16
"""States that are read side by side."""

Group = tuple[list[int], list[list[int]]]
"""The token ids of a state, and of each answer in it, end token included."""


def read_logits(prm: Path, oracle: Oracle, wording: Wording, dialogue: Format, settings: AnyEngine) -> np.ndarray:
    """The logit of every answer (A,) at its end token, in the order of the table."""
    return _read(prm, "prm", oracle, wording, dialogue, settings)


def read_log_probs(policy: Path, oracle: Oracle, wording: Wording, dialogue: Format, settings: AnyEngine) -> np.ndarray:
    """log pi of every answer (A,), in nats, its end token included."""
    return _read(policy, "policy", oracle, wording, dialogue, settings)


def _read(
    checkpoint: Path, role: Role, oracle: Oracle, wording: Wording, dialogue: Format, settings: AnyEngine
) -> np.ndarray:
    kind = engine_kind(settings.kind)
    engine = kind.open(kind.load(checkpoint, role, settings), settings, conversations=SLOTS)
    groups = list(_groups(Chat(checkpoints.load_tokenizer(checkpoint), wording), oracle, dialogue))
    values = [np.zeros(0)]
    for first in range(0, len(groups), SLOTS):
        values += _read_some(engine, role, groups[first : first + SLOTS])
    return np.concatenate(values)


def _groups(chat: Chat, oracle: Oracle, dialogue: Format) -> Iterator[Group]:
    """The states in their order; a tokenizer that knows other words than the policy's reads the answers' texts."""
    episodes, drawn_alike = oracle.episodes(), _drawn_alike(chat, oracle)
    places = {each["state"]: each for each in oracle.states.to_dict("records")}
    for state, answers in oracle.answers.groupby("state", sort=False):
        place = places[state]
        episode = episodes[place["episode_id"]]
        turns = episode.turns[: place["turn"]]
        if not drawn_alike:
            turns = tuple(replace(each, tokens=()) for each in turns)
        ids = chat.state(episode.first_observation, turns, dialogue, list(place["commands"]))
        tokens = answers["tokens"] if drawn_alike else [()] * len(answers)
        yield ids, [chat.answer(text, list(each)) for text, each in zip(answers["text"], tokens, strict=True)]


def _drawn_alike(chat: Chat, oracle: Oracle) -> bool:
    """Whether the ids that answers were drawn as are those of their texts to this tokenizer too."""
    drawn = zip(oracle.answers["text"], oracle.answers["tokens"], strict=True)
    return all(chat.decode(list(tokens)) == text for text, tokens in drawn if len(tokens))


def _read_some(engine: Engine, role: Role, groups: Sequence[Group]) -> list[np.ndarray]:
    """One array a state; states of as many answers are read together."""
    for slot, (state, _) in enumerate(groups):
        engine.begin(slot, state)
    read = engine.score if role == "prm" else engine.log_probs
    found: dict[int, torch.Tensor] = {}
    for count in {len(answers) for _, answers in groups}:
        slots = [slot for slot, (_, answers) in enumerate(groups) if len(answers) == count]
        values = read(slots, [groups[slot][1] for slot in slots])
        found.update(zip(slots, values, strict=True))
    return [found[slot].double().cpu().numpy() for slot in range(len(groups))]
