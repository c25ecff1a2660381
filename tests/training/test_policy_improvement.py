"""Policy improvement: TRL's loss, the right pairs, and a policy that learns what its critic likes."""

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import exp, log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from trl import DPOConfig, DPOTrainer

from agentprm_dagster.config import Dialogue, Experiment, Improvement
from agentprm_dagster.core.dialogue import Format, conversation, write_answer
from agentprm_dagster.core.stage import SilentMonitor, StageReport
from agentprm_dagster.core.types import Episode
from agentprm_dagster.envs.playable import PlayableGame
from agentprm_dagster.models import checkpoints
from agentprm_dagster.models.attention import use_grouped_attention
from agentprm_dagster.models.chat import Chat
from agentprm_dagster.training import policy_improvement
from agentprm_dagster.training.candidates import Candidate, CandidateSampler, CandidateTrees, Trunk, trunk_of, trunks_of
from agentprm_dagster.training.dpo import Pair, dpo_loss, kl_divergence, preferences, ranked_pairs, soft_dpo_loss
from agentprm_dagster.training.policy_improvement import contested_states, improve_policy

BETA = 0.3


@pytest.fixture(scope="module")
def chat(taught_folder: Path) -> Chat:
    return Chat(checkpoints.load_tokenizer(taught_folder))


@pytest.fixture(scope="module")
def liked(chat: Chat) -> int:
    """The token that says "take"."""
    (liked,) = (i for i in chat.answer("REASON: Here is mug 1.\nACTION: take mug 1") if "take" in chat.decode([i]))
    return liked


def all_of(chat: Chat, episode: Episode) -> Trunk:
    """All states of an episode."""
    return trunk_of(chat, episode, range(len(episode.turns)))


def answers(episode: Episode, turn: int) -> tuple[str, str]:
    """What was answered in a state, and something else of another length."""
    return episode.turns[turn].response, write_answer("I look for a mug.", "look")


@pytest.fixture
def trl_trainer(taught_folder: Path, policy_folder: Path, demonstrations: list[Episode], tmp_path: Path) -> DPOTrainer:
    """TRL's own trainer of a policy that has left its reference, on every state of two episodes."""
    rows = [
        {
            "prompt": conversation(episode.first_observation, episode.turns[:turn], last_observation=True),
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
    trl_trainer: DPOTrainer, chat: Chat, taught_folder: Path, policy_folder: Path, demonstrations: list[Episode]
) -> None:
    theirs = trl_trainer._compute_loss(
        trl_trainer.model, trl_trainer.data_collator(list(trl_trainer.train_dataset)), return_outputs=False
    )
    theirs.backward()
    policy, reference = checkpoints.load_policy(taught_folder), checkpoints.load_policy(policy_folder)
    use_grouped_attention(policy)
    trunks = [all_of(chat, episode) for episode in demonstrations[:2]]
    candidates = [
        Candidate((row, turn), tuple(chat.answer(answer)), draws=1)
        for row, episode in enumerate(demonstrations[:2])
        for turn in range(len(episode.turns))
        for answer in answers(episode, turn)
    ]
    trees = CandidateTrees(trunks, candidates)
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


def test_states_are_those_that_were_branched_at(rollouts: list[Episode]) -> None:
    branched = [(episode.parent, episode.start) for episode in rollouts if episode.parent]
    found = contested_states(rollouts)
    assert sorted((episode.episode_id, turn) for episode, turns in found for turn in turns) == sorted(set(branched))
    assert all(turns == sorted(turns) for _, turns in found)


def test_without_branches_all_states_are_taken(demonstrations: list[Episode]) -> None:
    empty = replace(demonstrations[0], turns=())
    found = contested_states([demonstrations[0], empty])
    assert found == [(demonstrations[0], list(range(len(demonstrations[0].turns))))]


def test_the_loss_by_hand() -> None:
    better, worse = torch.tensor([0.0, 2.0]), torch.tensor([0.0, -1.0])
    expected = [-torch.tensor(0.0).sigmoid().log(), -torch.tensor(0.5 * 3.0).sigmoid().log()]
    torch.testing.assert_close(dpo_loss(better, worse, 0.5), torch.stack(expected))


def candidates(*states: tuple[int, int]) -> list[Candidate]:
    return [Candidate(state, (i,), draws=1) for i, state in enumerate(states)]


def test_pairs_are_the_best_against_the_worst_of_each_state() -> None:
    drawn = candidates((0, 0), (0, 1), (0, 0), (1, 0), (0, 0), (0, 1))
    pairs = ranked_pairs(drawn, [0.3, 5.0, -0.5, 9.0, 0.9, 4.0], 0.1)
    assert pairs == [Pair(4, 2), Pair(1, 5)], "a state with one answer gives none"


def test_all_pairs_of_each_state_or_its_extremes() -> None:
    drawn, values = candidates((0, 0), (0, 1), (0, 0), (0, 0), (0, 1), (1, 0)), [0.25, 0.5, 0.875, 0.375, 0.25, 1.0]
    assert ranked_pairs(drawn, values, 0.25, extremes=True) == [Pair(2, 0), Pair(1, 4)]
    # Of state (0, 0) the pair (3, 0) is only 0.125 apart.
    assert ranked_pairs(drawn, values, 0.25, extremes=False) == [Pair(2, 3), Pair(2, 0), Pair(1, 4)]
    assert ranked_pairs(drawn, values, 0.0, extremes=False) == [Pair(2, 3), Pair(2, 0), Pair(3, 0), Pair(1, 4)]


def test_among_all_pairs_ties_are_dropped_whatever_the_gap() -> None:
    assert ranked_pairs(candidates((0, 0), (0, 0), (0, 0)), [0.5, 0.5, 1.0], 0.0, extremes=False) == [
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


@pytest.mark.parametrize(
    ("labels", "won"),
    # The share of the time that the first wins is its share of the two odds: 9, 1 and 1 / 4. Drawn 3, 1 and 2 times,
    # the answers make 3, 6 and 2 pairs of draws.
    [("soft", {(0, 1): (3, 0.9), (0, 2): (6, 9 / 9.25), (1, 2): (2, 0.8)}), ("hard", {(0, 2): (1, 1.0)})],
)
def test_hard_labels_take_the_extremes_and_soft_ones_all_pairs(
    chat: Chat, taught_folder: Path, policy_folder: Path, demonstrations: list[Episode], labels: str, won: Any
) -> None:
    model, reference = checkpoints.load_policy(taught_folder), checkpoints.load_policy(policy_folder)
    own, other = answers(demonstrations[0], 0)
    said = (own, other, write_answer("I look for a mug.", "inventory"))
    tried = [Candidate((0, 0), tuple(chat.answer(text)), draws) for text, draws in zip(said, (3, 1, 2), strict=True)]
    trees = CandidateTrees([all_of(chat, demonstrations[0])], tried)
    settings = Improvement(labels=labels, beta=0.5, kl_weight=0, min_gap=0.1)
    values = torch.tensor([0.9, 0.5, 0.2])
    _, numbers = policy_improvement.improvement_loss(model, reference, trees, tried, values, settings)
    with torch.no_grad():
        ratio = trees.log_probabilities(model) - trees.log_probabilities(reference)
    expected = sum(
        count * float(p * dpo_loss(ratio[a], ratio[b], 0.5) + (1 - p) * dpo_loss(ratio[b], ratio[a], 0.5))
        for (a, b), (count, p) in won.items()
    )
    assert numbers["loss"] == pytest.approx(expected / sum(count for count, _ in won.values()), rel=1e-5)
    assert (numbers["pairs"], numbers["states_with_pair"]) == (len(won), 1.0)
    assert numbers["value"] == pytest.approx((3 * 0.9 + 0.5 + 2 * 0.2) / 6)


@pytest.mark.parametrize(("gap", "kept"), [(0.0, 1), (0.25, 1), (0.251, 0)])
def test_near_ties_are_dropped(gap: float, kept: int) -> None:
    assert len(ranked_pairs(candidates((0, 0), (0, 0)), [1.0, 1.25], gap)) == kept


def test_ties_are_dropped_whatever_the_gap() -> None:
    assert ranked_pairs(candidates((0, 0), (0, 0), (0, 0)), [1.0, 1.0, 1.0], 0.0) == []


def test_equal_answers_are_one_candidate_and_give_no_pair() -> None:
    assert ranked_pairs([Candidate((0, 0), (7, 5), draws=4)], [1.0], 0.0) == []


class Taste(nn.Module):
    """A critic whose logit of an answer is whether it holds one token: hidden states are counts of it so far."""

    def __init__(self, liked: int) -> None:
        super().__init__()
        self.liked, self.score = liked, nn.Identity()
        self.device = torch.device("cpu")

    @property
    def base_model(self) -> Callable[..., SimpleNamespace]:
        return self.read

    def read(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: object) -> SimpleNamespace:
        held = (attention_mask[:, 0] == 0).float() @ (input_ids == self.liked).float()[..., None]
        return SimpleNamespace(last_hidden_state=held)


def improve(
    taught_folder: Path, chat: Chat, episodes: list[Episode], critic: Any, **settings: Any
) -> tuple[PreTrainedModel, list[dict[str, float]]]:
    model = checkpoints.load_policy(taught_folder)
    use_grouped_attention(model)
    trunks = [all_of(chat, episode) for episode in episodes]
    few = {"steps": 15, "episodes_per_step": 3, "learning_rate": 3e-3, "min_gap": 1e-4, "max_new_tokens": 24}
    plan = Improvement(**{**few, **settings})
    judge: Any = SimpleNamespace(values=lambda _, __, trees: (trees.values(critic).sigmoid(), trees.tokens_read))
    numbers = policy_improvement.policy_steps(
        model, copy.deepcopy(model), judge, chat, trunks, plan, seed=0, monitor=SilentMonitor()
    )
    return model, list(numbers)


def share_with(liked: int, model: PreTrainedModel, chat: Chat, episodes: list[Episode]) -> float:
    """How many of the answers drawn along some episodes hold a token."""
    trunks = [all_of(chat, episode) for episode in episodes]
    states = max(len(trunk.states) for trunk in trunks)
    longest = max(len(trunk.ids) for trunk in trunks)
    sampler = CandidateSampler(model, chat, longest=longest, rows=len(trunks), states=states, n=8, new=24)
    drawn = sampler.draw(trunks, temperature=1.0, generator=torch.Generator().manual_seed(0))
    return sum(c.draws for c in drawn if liked in c.ids) / sum(c.draws for c in drawn)


def test_it_learns_what_its_critic_likes(
    taught_folder: Path, chat: Chat, demonstrations: list[Episode], liked: int
) -> None:
    episodes = demonstrations[:8]
    before = checkpoints.load_policy(taught_folder)
    use_grouped_attention(before)
    after, numbers = improve(taught_folder, chat, episodes, Taste(liked), temperature=1.5, kl_weight=0.0)
    first, last = numbers[:5], numbers[-5:]

    def mean(steps: list[dict[str, float]], name: str) -> float:
        return sum(step[name] for step in steps) / len(steps)

    assert numbers[0]["kl"] == pytest.approx(0, abs=1e-4), "it starts at its reference"
    assert mean(last, "kl") > 0
    assert mean(last, "pair_accuracy") > max(mean(first, "pair_accuracy"), 0.7)
    assert share_with(liked, after, chat, episodes) > share_with(liked, before, chat, episodes) + 0.1


def test_the_kl_term_keeps_it_near_its_reference(
    taught_folder: Path, chat: Chat, demonstrations: list[Episode], liked: int
) -> None:
    def went(weight: float) -> float:
        _, numbers = improve(
            taught_folder, chat, demonstrations[:4], Taste(liked), steps=6, temperature=2.0, kl_weight=weight
        )
        return numbers[-1]["kl"]

    assert went(10.0) < went(0.0) / 2


def test_where_the_critic_has_no_opinion_nothing_is_learnt(
    taught_folder: Path, chat: Chat, demonstrations: list[Episode]
) -> None:
    model, numbers = improve(taught_folder, chat, demonstrations[:4], Taste(liked=0), steps=2)
    assert [step["pairs"] for step in numbers] == [0.0, 0.0]
    assert not any({"loss", "pair_accuracy", "gap"} & step.keys() for step in numbers), "there is nothing to tell"
    before = checkpoints.load_policy(taught_folder)
    for mine, old in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(mine, old)


def test_every_episode_is_learnt_from_before_any_comes_again(chat: Chat, demonstrations: list[Episode]) -> None:
    trunks = [all_of(chat, episode) for episode in demonstrations[:7]]
    settings = Improvement(episodes_per_step=2, states_per_episode=3)
    batches = policy_improvement._batches(trunks, settings, "append", random.Random(0))
    for _ in range(2):
        seen = [trunk for _ in range(4) for trunk in next(batches)]
        assert len(seen) == 7
        for trunk in trunks:
            (some,) = [s for s in seen if trunk.ids[: len(s.ids)] == s.ids and set(s.states) <= set(trunk.states)]
            assert len(some.states) == min(3, len(trunk.states))
            assert len(some.ids) == some.states[-1]
            assert [trunk.states[turn] for turn in some.turns] == some.states
            assert some.episode is trunk.episode


def test_both_formats_have_as_many_states_at_most(chat: Chat, demonstrations: list[Episode]) -> None:
    settings = Improvement(episodes_per_step=3, states_per_episode=2)
    for dialogue, trunks in (("append", 3), ("restated", 6)):
        there = [
            trunk
            for episode in demonstrations[:6]
            for trunk in trunks_of(chat, episode, range(len(episode.turns)), dialogue)
        ]
        batch = next(policy_improvement._batches(there, settings, dialogue, random.Random(0)))
        assert len(batch) == trunks
        assert sum(len(trunk.states) for trunk in batch) == 6


def improved(
    taught_folder: Path,
    episodes: list[Episode],
    folder: Path,
    *,
    games: Sequence[PlayableGame] = (),
    dialogue: Format = "append",
    **settings: Any,
) -> tuple[StageReport, Path]:
    prm = folder / "prm"
    checkpoints.save(checkpoints.prm_from_policy(taught_folder, seed=2), checkpoints.load_tokenizer(taught_folder), prm)
    plan = Improvement(
        **{"steps": 2, "episodes_per_step": 1, "temperature": 2.0, "min_gap": 0, "warmup_ratio": 0, **settings}
    )
    experiment = Experiment(name="tiny", improvement=plan, dialogue=Dialogue(format=dialogue))
    out = folder / "out"
    by_id = {game.id: game for game in games}
    report = improve_policy(taught_folder, prm, episodes, by_id, experiment, out, seed=0, monitor=SilentMonitor())
    return report, out


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_improved_policy_is_an_ordinary_checkpoint_with_every_parameter_moved(
    taught_folder: Path, rollouts: list[Episode], tmp_path: Path, optimizer: str
) -> None:
    report, out = improved(taught_folder, rollouts, tmp_path, optimizer=optimizer)
    assert {gate.name: gate.passed for gate in report.gates} == {
        "policy_finite": True,
        "kl_budget": True,
        "pairs_to_learn_from": True,
    }
    model, before = AutoModelForCausalLM.from_pretrained(out), checkpoints.load_policy(taught_folder)
    for (name, parameter), old in zip(model.named_parameters(), before.parameters(), strict=True):
        assert not torch.equal(parameter, old), name
    assert checkpoints.load_tokenizer(out).chat_template == checkpoints.load_tokenizer(taught_folder).chat_template


def test_the_same_seed_gives_the_same_policy(taught_folder: Path, rollouts: list[Episode], tmp_path: Path) -> None:
    weights = []
    for name in ("1", "2"):
        _, out = improved(taught_folder, rollouts, tmp_path / name)
        weights.append((out / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_where_turns_restate_the_history_a_step_has_as_many_states(
    taught_folder: Path, rollouts: list[Episode], tmp_path: Path
) -> None:
    size = {"episodes_per_step": 2, "states_per_episode": 3}
    report, _ = improved(taught_folder, rollouts, tmp_path, dialogue="restated", **size)
    assert (report.metrics["steps"], report.metrics["states"]) == (2, 2 * 6)


def test_candidates_may_be_ranked_by_their_replies(
    taught_folder: Path, household_games: list[PlayableGame], rollouts: list[Episode], tmp_path: Path
) -> None:
    by_answer, _ = improved(taught_folder, rollouts, tmp_path / "answer")
    by_reply, _ = improved(taught_folder, rollouts, tmp_path / "reply", games=household_games, rank_by="reply")
    assert all(gate.passed for gate in by_reply.gates)
    assert by_reply.metrics["value_first"] != by_answer.metrics["value_first"], "the same candidates, read elsewhere"
    assert by_reply.metrics["tokens"] > by_answer.metrics["tokens"], "the replies are read too"


def test_ranking_by_replies_needs_the_games(taught_folder: Path, rollouts: list[Episode], tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        improved(taught_folder, rollouts, tmp_path, rank_by="reply")
