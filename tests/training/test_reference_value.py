"""V_mu against the standard head on each prefix, its returns and advantages by hand, and that it learns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from agentprm_dagster.algorithm.shaping import shaped_targets
from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.algorithm.td_lambda import td_targets
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.launch.job import Job
from agentprm_dagster.section import HeadTraining
from agentprm_dagster.training.reference_value import (
    reference_advantages,
    states_of,
    train_reference_value,
    values_behind,
)

GAMMA = 0.9
TRAINING = HeadTraining(epochs=15, learning_rate=3e-3, batch_tokens=4096)


@pytest.fixture(scope="module")
def trained(policy_folder: Path, demonstrations: list[Episode], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reference")
    held_out = {episode.game for episode in demonstrations[:2]}
    # Two dozen episodes are soon known by heart, and say little about other games.
    report = train_reference_value(
        *(policy_folder, demonstrations, WORDING, TRAINING, out),
        gamma=GAMMA,
        max_loss=1.0,
        held_out=held_out,
        job=Job(seed=0),
    )
    assert report.metrics["train_loss"] < 0.65 < report.metrics["held_out_constant_loss"]
    assert report.metrics["held_out_states"] == sum(len(e.turns) for e in demonstrations if e.game in held_out)
    return out


def test_a_state_is_worth_what_its_own_episode_returned(
    tokenizer: PreTrainedTokenizerFast, demonstrations: list[Episode]
) -> None:
    won = next(episode for episode in demonstrations if episode.won)
    states = states_of(Chat(tokenizer, WORDING), won, GAMMA)
    assert states.targets == pytest.approx([GAMMA**t for t in reversed(range(len(won.turns)))])
    assert set(states_of(Chat(tokenizer, WORDING), replace(won, reward=0.0), GAMMA).targets) == {0.0}


def test_advantages_are_those_of_every_state_read_for_itself(
    trained: Path, tokenizer: PreTrainedTokenizerFast, rollouts: list[Episode]
) -> None:
    chat, stock = Chat(tokenizer, WORDING), checkpoints.load_prm(trained).eval()

    def value(episode: Episode, turns: int) -> float:
        ids = chat.state(episode.first_observation, episode.turns[:turns])
        with torch.no_grad():
            return float(stock(torch.tensor([ids])).logits.sigmoid())

    targets = mc_value_targets(rollouts, gamma=GAMMA, held_out_games=0.2, seed=0)
    gained = reference_advantages(trained, rollouts, targets, WORDING, gamma=GAMMA, batch_tokens=4096)
    read = dict(zip(zip(targets["episode_id"], targets["turn"], strict=True), gained, strict=True))
    branch = next(episode for episode in rollouts if episode.parent and (episode.episode_id, episode.start) in read)
    whole = next(episode for episode in rollouts if episode.won and not episode.parent)
    for episode in (branch, whole):
        for t in range(episode.start, len(episode.turns)):
            wins = episode.won and t == len(episode.turns) - 1
            behind = 1.0 if wins else GAMMA * value(episode, t + 1)
            assert read[episode.episode_id, t] == pytest.approx(behind - value(episode, t), abs=1e-5)
    assert shaped_targets(targets, gained, alpha=0.5)["target"].between(0, 1).all()


def test_a_prm_says_what_lies_behind_every_decision(prm_folder: Path, rollouts: list[Episode]) -> None:
    targets = mc_value_targets(rollouts, gamma=0.9, held_out_games=0.3, seed=0)
    behind = values_behind(prm_folder, rollouts, targets, WORDING, batch_tokens=4096)
    assert len(behind) == len(targets)
    assert ((behind > 0) & (behind < 1)).all()
    chat, stock = Chat(checkpoints.load_tokenizer(prm_folder), WORDING), checkpoints.load_prm(prm_folder).eval()
    by_id = {each.episode_id: each for each in rollouts}
    for i in (0, 3, len(targets) - 1):
        episode, t = by_id[targets["episode_id"][i]], int(targets["turn"][i])
        ids = chat.state(episode.first_observation, episode.turns[: t + 1])
        with torch.no_grad():
            assert behind[i] == pytest.approx(stock(torch.tensor([ids])).logits.sigmoid().item(), abs=1e-5)
    found = td_targets(targets, behind, gamma=0.9, lam=0.5)
    assert not np.allclose(found["target"], targets["q"])
