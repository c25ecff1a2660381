"""DPO's loss is TRL's, hard or soft, and the pairs it takes are the right ones."""

from math import exp, log
from pathlib import Path

import datasets
import pytest
import torch
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer

from agentprm_dagster.algorithm.dpo import Pair, dpo_loss, kl_divergence, preferences, ranked_pairs, soft_dpo_loss
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.training.candidates import Candidate, CandidateTrees

BETA = 0.3


def answers(episode: Episode, turn: int) -> tuple[str, str]:
    """What was answered in a state, and something else of another length."""
    return episode.turns[turn].response, write_answer("I look for a mug.", "look")


@pytest.fixture
def trl_trainer(taught_folder: Path, policy_folder: Path, demonstrations: list[Episode], tmp_path: Path) -> DPOTrainer:
    """TRL's own trainer of a policy that has left its reference, on every state of two episodes."""
    rows = [
        {
            "prompt": WORDING.conversation(episode.first_observation, episode.turns[:turn], last_observation=True),
            "chosen": [{"role": "assistant", "content": answers(episode, turn)[0]}],
            "rejected": [{"role": "assistant", "content": answers(episode, turn)[1]}],
        }
        for episode in demonstrations[:2]
        for turn in range(len(episode.turns))
    ]
    args = DPOConfig(
        output_dir=str(tmp_path),
        beta=BETA,
        report_to=[],
        max_length=None,
        bf16=False,
        use_cpu=True,
        disable_tqdm=True,
        activation_checkpointing=False,
    )
    return DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(taught_folder),
        ref_model=AutoModelForCausalLM.from_pretrained(policy_folder),
        args=args,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=checkpoints.load_tokenizer(taught_folder),
    )


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in TRL
def test_the_loss_is_trls(
    trl_trainer: DPOTrainer, taught_folder: Path, policy_folder: Path, demonstrations: list[Episode]
) -> None:
    theirs = trl_trainer._compute_loss(
        trl_trainer.model, trl_trainer.data_collator(list(trl_trainer.train_dataset)), return_outputs=False
    )
    theirs.backward()
    chat = Chat(checkpoints.load_tokenizer(taught_folder), WORDING)
    policy, reference = checkpoints.load_policy(taught_folder), checkpoints.load_policy(policy_folder)
    use_grouped_attention(policy)
    prefixes = [chat.conversations(episode)[0] for episode in demonstrations[:2]]
    candidates = [
        Candidate((row, turn), tuple(chat.answer(answer)), draws=1)
        for row, episode in enumerate(demonstrations[:2])
        for turn in range(len(episode.turns))
        for answer in answers(episode, turn)
    ]
    trees = CandidateTrees(prefixes, candidates)
    ratio = trees.log_probabilities(policy) - trees.log_probabilities(reference).detach()
    ours = dpo_loss(ratio[0::2], ratio[1::2], BETA).mean()
    ours.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4)
    for mine, other in zip(policy.parameters(), trl_trainer.model.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-4, rtol=1e-3)


def test_kl_by_hand() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    p, q = logits.log_softmax(-1)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=logits[0]), torch.distributions.Categorical(logits=logits[1])
    )
    torch.testing.assert_close(kl_divergence(p, q), expected)
    assert float(kl_divergence(p, p).abs().max()) == 0


def test_the_loss_by_hand() -> None:
    better, worse = torch.tensor([0.0, 2.0]), torch.tensor([0.0, -1.0])
    expected = [-torch.tensor(0.0).sigmoid().log(), -torch.tensor(0.5 * 3.0).sigmoid().log()]
    torch.testing.assert_close(dpo_loss(better, worse, 0.5), torch.stack(expected))


def test_pairs_are_the_best_against_the_worst_of_each_state() -> None:
    states = ((0, 0), (0, 1), (0, 0), (1, 0), (0, 0), (0, 1))
    pairs = ranked_pairs(states, [0.3, 5.0, -0.5, 9.0, 0.9, 4.0], 0.1)
    assert pairs == [Pair(4, 2), Pair(1, 5)], "a state with one answer gives none"


def test_all_pairs_of_each_state_or_its_extremes() -> None:
    states, values = ((0, 0), (0, 1), (0, 0), (0, 0), (0, 1), (1, 0)), [0.25, 0.5, 0.875, 0.375, 0.25, 1.0]
    assert ranked_pairs(states, values, 0.25, extremes=True) == [Pair(2, 0), Pair(1, 4)]
    # Of state (0, 0) the pair (3, 0) is only 0.125 apart.
    assert ranked_pairs(states, values, 0.25, extremes=False) == [Pair(2, 3), Pair(2, 0), Pair(1, 4)]
    assert ranked_pairs(states, values, 0.0, extremes=False) == [Pair(2, 3), Pair(2, 0), Pair(3, 0), Pair(1, 4)]


def test_among_all_pairs_ties_are_dropped_whatever_the_gap() -> None:
    assert ranked_pairs(((0, 0), (0, 0), (0, 0)), [0.5, 0.5, 1.0], 0.0, extremes=False) == [
        Pair(2, 0),
        Pair(2, 1),
    ]


def test_the_soft_loss_is_least_where_the_log_ratios_differ_as_the_rewards_do() -> None:
    preference = preferences(torch.tensor([0.8]), torch.tensor([0.5]))
    assert preference.item() == pytest.approx(0.8), "odds of 4 against odds of 1"
    ratios = torch.linspace(-3, 3, 601)
    losses = soft_dpo_loss(ratios, torch.zeros(1), 0.5, preference)
    assert 0.5 * ratios[losses.argmin()].item() == pytest.approx(log(4), abs=0.01)
    by_hand = -(0.8 * log(1 / (1 + exp(-1))) + 0.2 * log(1 / (1 + exp(1))))
    assert soft_dpo_loss(torch.tensor(2.0), torch.tensor(0.0), 0.5, preference).item() == pytest.approx(by_hand)


def test_a_certain_preference_is_the_hard_label() -> None:
    better, worse = torch.tensor([0.3, -2.0]), torch.tensor([1.0, -1.0])
    assert torch.equal(soft_dpo_loss(better, worse, 0.5, torch.ones(2)), dpo_loss(better, worse, 0.5))


def test_values_beyond_what_a_prm_can_know_count_alike() -> None:
    certain, known = preferences(torch.tensor([1.0, 0.99]), torch.tensor([0.5, 0.5])).tolist()
    assert certain == known
    assert preferences(torch.tensor(0.001), torch.tensor(0.0)).item() == pytest.approx(0.5)


@pytest.mark.parametrize(("gap", "kept"), [(0.0, 1), (0.25, 1), (0.251, 0)])
def test_near_ties_are_dropped(gap: float, kept: int) -> None:
    assert len(ranked_pairs(((0, 0), (0, 0)), [1.0, 1.25], gap)) == kept


def test_ties_are_dropped_whatever_the_gap() -> None:
    assert ranked_pairs(((0, 0), (0, 0), (0, 0)), [1.0, 1.0, 1.0], 0.0) == []


def test_equal_answers_are_one_candidate_and_give_no_pair() -> None:
    assert ranked_pairs([(0, 0)], [1.0], 0.0) == []
