"""The loss of policy improvement by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch

from agentprm_dagster.algorithm.dpo import dpo_loss
from agentprm_dagster.algorithm.terms import loss_of
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.improvement.dpo_settings import Settings as Improvement
from agentprm_dagster.improvement.online_dpo import terms_of
from agentprm_dagster.training.candidates import Candidate, CandidateTrees


@pytest.mark.parametrize(
    ("labels", "won"),
    # The share of the time that the first wins is its share of the two odds: 9, 1 and 1 / 4. Drawn 3, 1 and 2 times,
    # the answers make 3, 6 and 2 pairs of draws.
    [("soft", {(0, 1): (3, 0.9), (0, 2): (6, 9 / 9.25), (1, 2): (2, 0.8)}), ("hard", {(0, 2): (1, 1.0)})],
)
def test_hard_labels_take_the_extremes_and_soft_ones_all_pairs(
    taught_folder: Path, policy_folder: Path, demonstrations: list[Episode], labels: Any, won: Any
) -> None:
    model, reference = checkpoints.load_policy(taught_folder), checkpoints.load_policy(policy_folder)
    chat, episode = Chat(checkpoints.load_tokenizer(taught_folder), WORDING), demonstrations[0]
    others = [write_answer("I look for a mug.", action) for action in ("look", "inventory")]
    said = (episode.turns[0].response, *others)
    tried = [Candidate((0, 0), tuple(chat.answer(text)), draws) for text, draws in zip(said, (3, 1, 2), strict=True)]
    trees = CandidateTrees([chat.conversations(episode)[0]], tried)
    settings = Improvement(labels=labels, beta=0.5, kl_weight=0, min_gap=0.1)
    values = torch.tensor([0.9, 0.5, 0.2])
    terms, numbers = terms_of(model, reference, trees, values, settings)
    with torch.no_grad():
        ratio = trees.log_probabilities(model) - trees.log_probabilities(reference)
    expected = sum(
        count * float(p * dpo_loss(ratio[a], ratio[b], 0.5) + (1 - p) * dpo_loss(ratio[b], ratio[a], 0.5))
        for (a, b), (count, p) in won.items()
    )
    assert float(loss_of(terms).detach()) == pytest.approx(expected / sum(count for count, _ in won.values()), rel=1e-5)
    assert (numbers["pairs"], numbers["states_with_pair"]) == (len(won), 1.0)
    assert numbers["value"] == pytest.approx((3 * 0.9 + 0.5 + 2 * 0.2) / 6)
