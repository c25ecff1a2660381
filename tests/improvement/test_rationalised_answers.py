"""Rationalised answers in the loss, against a language model's own, and that a policy learns them."""

from pathlib import Path

import pytest
import torch

from agentprm_dagster.algorithm.terms import Term, Terms, items_of, loss_of
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.improvement.rationalised_answers import RationalisedAnswers
from agentprm_dagster.launch.pieces import Piece

WEIGHT = 0.5


@pytest.mark.parametrize("drawn", [None, 2.0])
def test_the_mean_likelihood_of_the_answers_known_is_added(
    policy_folder: Path, demonstrations: list[Episode], drawn: float | None
) -> None:
    model, chat = checkpoints.load_policy(policy_folder), Chat(checkpoints.load_tokenizer(policy_folder), WORDING)
    stock = checkpoints.load_policy(policy_folder)
    use_grouped_attention(model)
    prefixes = [chat.conversations(episode)[0] for episode in demonstrations[:2]]
    places = [(demonstrations[0], 1), (demonstrations[1], 0), (demonstrations[1], 2)]
    answers = {
        (episode.episode_id, turn): write_answer("It worked.", f"go to shelf {turn}") for episode, turn in places
    }

    own: Terms = {} if drawn is None else {"pairs": Term(torch.tensor(3 * drawn), 3)}
    piece = Piece(lambda: (own, {"tokens": 10.0, "trained_tokens": 4.0}), items_of(own))
    both = RationalisedAnswers(answers, WEIGHT).added(piece, model, chat, prefixes)
    terms, numbers = both.read()
    assert both.items == items_of(terms)
    likelihoods = []
    for episode, turn in places:
        state = chat.state(episode.first_observation, episode.turns[:turn])
        answer = chat.answer(answers[episode.episode_id, turn])
        with torch.no_grad():
            log_p = stock(torch.tensor([state + answer])).logits[0].log_softmax(-1)
        likelihoods.append(sum(float(log_p[len(state) + i - 1, token]) for i, token in enumerate(answer)))
    assert float(loss_of(terms).detach()) == pytest.approx((drawn or 0.0) - WEIGHT * sum(likelihoods) / 3, rel=1e-4)
    assert numbers["rationalised"] == 3
    assert numbers["tokens"] - 10 == numbers["trained_tokens"] - 4 > 0


def test_states_without_one_leave_the_loss_as_it_is(policy_folder: Path, demonstrations: list[Episode]) -> None:
    model, chat = checkpoints.load_policy(policy_folder), Chat(checkpoints.load_tokenizer(policy_folder), WORDING)
    prefixes = [chat.conversations(demonstrations[0], "append", [0, 1])[0]]
    piece = Piece(lambda: ({}, {"tokens": 10.0}), {})
    both = RationalisedAnswers({("another", 0): "x"}, WEIGHT).added(piece, model, chat, prefixes)
    assert both.read() == ({}, {"tokens": 10.0, "rationalised": 0.0})
    assert both.items == {}
