"""The PRM: what is read, what is learnt, that its checkpoint is an ordinary one."""

from dataclasses import replace
from math import isnan, log
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

from agentprm_dagster.algorithm.prm_loss import Reading
from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.algorithm.terms import Terms
from agentprm_dagster.config import Prm
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.engine.embedded.token_tree import TokenTree
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.launch.job import Job
from agentprm_dagster.reports.prm_report import action_ordering
from agentprm_dagster.training.episode_trees import families
from agentprm_dagster.training.optimizers import OptimizerName
from agentprm_dagster.training.prm_examples import (
    Example,
    loss_terms,
    predict,
    prm_examples,
    read_decisions,
    terms_of,
    tried_pairs,
)
from agentprm_dagster.training.process_reward_model import train_prm
from agentprm_dagster.training.tree_training import dealt, fit, groups_in_a_step, token_budget_batches


@pytest.fixture(scope="module")
def targets(rollouts: list[Episode]) -> pd.DataFrame:
    return mc_value_targets(rollouts, gamma=0.9, held_out_games=0.3, seed=0)


@pytest.fixture(scope="module")
def chat(tokenizer: PreTrainedTokenizerFast) -> Chat:
    return Chat(tokenizer, WORDING)


@pytest.fixture(scope="module")
def prm(policy_folder: Path) -> PreTrainedModel:
    model = checkpoints.prm_from_policy(policy_folder, seed=0).eval()
    use_grouped_attention(model)
    return model


def examples(
    chat: Chat,
    rollouts: list[Episode],
    targets: pd.DataFrame,
    *,
    branch_turns: int = 1,
    restated: bool = False,
    replies: bool = True,
) -> list[Example]:
    dialogue: Format = "restated" if restated else "append"
    return prm_examples(chat, rollouts, targets, dialogue, branch_turns=branch_turns, read_replies=replies)


def path_of(length: int) -> Example:
    tree = TokenTree()
    tree.add(range(length))
    return Example(tree, [length - 1])


def prefix(chat: Chat, episode: Episode, turn: int) -> list[int]:
    """The conversation up to and with the answer of a turn."""
    return chat.conversations(episode, "append", [turn])[0].ids


def replied(chat: Chat, episode: Episode, turn: int) -> list[int]:
    """The conversation up to where the environment's reply to that answer ends, and the next answer would begin."""
    return chat.state(episode.first_observation, episode.turns[: turn + 1])


def test_families_hold_each_whole_episode_with_its_branches(rollouts: list[Episode]) -> None:
    found = list(families(rollouts))
    assert sorted(e.episode_id for family in found for e in family) == sorted(e.episode_id for e in rollouts)
    for family in found:
        assert [e.parent is None for e in family] == [True] + [False] * (len(family) - 1)
        assert {e.parent for e in family[1:]} == {family[0].episode_id}


@pytest.mark.parametrize("branch_turns", [1, 3])
def test_logits_are_the_standard_heads_on_each_prefix(
    prm: PreTrainedModel,
    policy_folder: Path,
    chat: Chat,
    rollouts: list[Episode],
    targets: pd.DataFrame,
    branch_turns: int,
) -> None:
    some = examples(chat, rollouts, targets, branch_turns=branch_turns)[:2]
    stock = checkpoints.prm_from_policy(policy_folder, seed=0).eval()
    episodes = {episode.episode_id: episode for episode in rollouts}
    decisions = [targets.iloc[row] for example in some for row in example.rows]
    assert len(decisions) > 10
    turns = [(episodes[d["episode_id"]], int(d["turn"])) for d in decisions]
    with torch.no_grad():
        reading = read_decisions(prm, some)
        answers = [stock(torch.tensor([prefix(chat, *turn)])).logits.item() for turn in turns]
        replies = [stock(torch.tensor([replied(chat, *turn)])).logits.item() for turn in turns]
    assert reading.reply is not None
    assert reading.answer.tolist() == pytest.approx(answers, abs=1e-5)
    assert reading.reply.tolist() == pytest.approx(replies, abs=1e-5)
    assert {episode.parent is None for episode, _ in turns} == {True, False}, "whole episodes and branches"
    answer, reply = predict(prm, some, budget=1)
    assert answer == pytest.approx(answers, abs=1e-5)
    assert reply == pytest.approx(replies, abs=1e-5)


def test_replies_are_only_read_where_they_are_asked_for(
    prm: PreTrainedModel, chat: Chat, rollouts: list[Episode], targets: pd.DataFrame
) -> None:
    some = examples(chat, rollouts, targets, replies=False)[:2]
    assert read_decisions(prm, some).reply is None
    answer, reply = predict(prm, some, budget=4096)
    assert len(answer) == len(reply) == sum(len(e.ends) for e in some)
    assert all(map(isnan, reply))
    assert answer == pytest.approx(predict(prm, examples(chat, rollouts, targets)[:2], budget=4096)[0], abs=1e-5)


def test_decisions_carry_their_targets(chat: Chat, rollouts: list[Episode], targets: pd.DataFrame) -> None:
    some = examples(chat, rollouts, targets)
    for example in some:
        assert example.targets == targets["q"].iloc[example.rows].tolist()
        assert [example.tree.ids[end] for end in example.ends] == [chat.end] * len(example.ends)
        assert len(example.replies) == len(example.ends)
        for pair in example.pairs:
            tried = targets.iloc[[example.rows[i] for i in pair]]
            assert tried["state"].nunique() == 1
            assert tried["action"].nunique() == 2
    assert sum(len(example.pairs) for example in some) > 10


def test_of_a_branch_the_turns_asked_for_are_read_and_equal_ones_once(
    chat: Chat, rollouts: list[Episode], targets: pd.DataFrame
) -> None:
    tried = {(e.parent, e.start, e.own_turns[0].response) for e in rollouts if e.parent}
    whole = sum(len(e.turns) for e in rollouts if e.parent is None)
    one = examples(chat, rollouts, targets, branch_turns=1)
    assert sum(len(example.rows) for example in one) == whole + len(tried)
    every = examples(chat, rollouts, targets, branch_turns=30)
    own = {(e.parent, e.start, tuple(turn.response for turn in e.own_turns)): len(e.own_turns) for e in rollouts}
    assert sum(len(example.rows) for example in every) == whole + sum(n for (parent, *_), n in own.items() if parent)


def test_in_the_restated_format_every_decision_is_read_for_itself(
    prm: PreTrainedModel, chat: Chat, rollouts: list[Episode], targets: pd.DataFrame
) -> None:
    some = examples(chat, rollouts[:1], targets, restated=True)
    episode = rollouts[0]
    assert [len(example.ends) for example in some] == [1] * len(episode.turns)
    assert not any(example.replies for example in some), "the reply is no part of what is read"
    with torch.no_grad():
        logits = read_decisions(prm, some).answer
        for t, turn in enumerate(episode.turns):
            prompt = chat.prompt(WORDING.prompt(episode.first_observation, episode.turns[:t], turn.candidates))
            alone = prm(torch.tensor([[*prompt, *chat.answer(turn.response)]])).logits.item()
            assert logits[t].item() == pytest.approx(alone, abs=1e-5)


def test_pairs_by_hand() -> None:
    decisions = [("s", "a"), ("t", "a"), ("s", "b"), ("s", "a"), ("s", "c"), ("t", "b"), ("u", "a")]
    # a stands in s twice and counts once.
    assert tried_pairs(decisions) == [(0, 2), (0, 4), (2, 4), (1, 5)]


@pytest.mark.parametrize("budget", [1, 3000, 10**9])
def test_batches_hold_every_example_once_within_the_budget(
    chat: Chat, rollouts: list[Episode], targets: pd.DataFrame, budget: int
) -> None:
    some = examples(chat, rollouts, targets)
    batches = token_budget_batches(some, budget, seed=0)
    assert sorted(id(e) for batch in batches for e in batch) == sorted(map(id, some))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(len(e.tree) for e in batch) <= budget
    assert len(batches) == (1 if budget == 10**9 else len(some) if budget == 1 else len(batches))


def test_a_large_models_step_takes_episodes_of_several_lengths(prm: PreTrainedModel) -> None:
    with torch.device("meta"):  # what is not on a CPU is not small
        large = type(prm)(prm.config)
    some = [path_of(10), path_of(40)]
    assert groups_in_a_step(large, some, 400) == 4
    assert groups_in_a_step(large, some, 80) == 2, "none would hold the longest"
    assert groups_in_a_step(large, some, 30) == 1
    assert groups_in_a_step(prm, some, 30) == 2, "one a shard"


def test_what_a_step_takes_is_dealt_to_its_processes() -> None:
    a, b, c, d, e = (path_of(length) for length in range(1, 6))
    groups = [[a, b], [c], [d, e]]
    assert dealt(groups, 3) == groups
    assert dealt(groups, 1) == [[a, b, c, d, e]]
    assert dealt(groups, 2) == [[a, c, e], [b, d]]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_few_steps_move_every_parameter(
    policy_folder: Path,
    chat: Chat,
    rollouts: list[Episode],
    targets: pd.DataFrame,
    optimizer: OptimizerName,
    capfd: pytest.CaptureFixture[str],
) -> None:
    model, before = (checkpoints.prm_from_policy(policy_folder, seed=0) for _ in range(2))
    use_grouped_attention(model)
    some = examples(chat, rollouts, targets)[:4]
    settings = Prm(epochs=2, optimizer=optimizer)
    loss = fit(model, some, loss_terms, settings, job=Job(seed=0))
    assert torch.tensor(loss).isfinite()
    for (name, parameter), old in zip(model.named_parameters(), before.parameters(), strict=True):
        assert not torch.equal(parameter, old), name
    assert capfd.readouterr().out == ""


def test_a_pair_of_episodes_of_one_game_is_learnt_from(
    chat: Chat, rollouts: list[Episode], targets: pd.DataFrame
) -> None:
    """The paper's way has no branches: what is compared are different episodes of one game."""
    whole = [episode for episode in rollouts if episode.parent is None]
    twice = [
        copied
        for episode in whole[:2]
        for copied in (episode, replace(episode, episode_id=f"{episode.episode_id}b", turns=_other_start(episode)))
    ]
    table = mc_value_targets(twice, gamma=0.9, held_out_games=0, seed=0)
    apart = prm_examples(chat, twice, table, "append", branch_turns=1, read_replies=False)
    together = prm_examples(chat, twice, table, "append", branch_turns=1, read_replies=False, whole_games=True)
    assert [len(example.pairs) for example in apart] == [0] * 4
    assert [len(example.pairs) for example in together] == [1, 1]


def _other_start(episode: Episode) -> tuple[Turn, ...]:
    first, *rest = episode.turns
    return (replace(first, action="help", response="REASON: a\nACTION: help"), *rest)


def test_it_learns_from_pairs_alone(
    policy_folder: Path, rollouts: list[Episode], targets: pd.DataFrame, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"loss": "relative"})
    report = train_prm(policy_folder, rollouts, targets, settings, WORDING, tmp_path, job=Job(seed=0), **HOW)
    assert report.metrics["train_loss"] < 1.5 * log(2), "two readings, of which each begins at log 2"
    assert report.metrics["held_out_constant_loss"] == log(2)
    loaded = checkpoints.load_prm(tmp_path)
    use_grouped_attention(loaded)
    trained = examples(Chat(checkpoints.load_tokenizer(tmp_path), WORDING), rollouts, targets)
    trained = [e for e in trained if not targets["held_out"].iloc[e.rows[0]]]
    logits, _ = predict(loaded, trained, 4096)
    rows = [row for e in trained for row in e.rows]
    assert action_ordering(targets.iloc[rows].assign(logit=logits))["ordering_accuracy"] > 0.8


def test_bootstrapping_grows_with_the_steps_taken(
    policy_folder: Path, chat: Chat, rollouts: list[Episode], targets: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress: list[float] = []

    def note(reading: Reading, examples: list[Example], settings: Prm, now: float) -> Terms:
        progress.append(now)
        return terms_of(reading, examples, settings, now)

    monkeypatch.setattr("agentprm_dagster.training.prm_examples.terms_of", note)
    model = checkpoints.prm_from_policy(policy_folder, seed=0)
    use_grouped_attention(model)
    some = examples(chat, rollouts, targets)[:4]
    fit(model, some, loss_terms, Prm(epochs=2, batch_tokens=2), job=Job(seed=0))
    assert progress == [0.0, 0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75], "two batches a step"


SETTINGS = Prm(epochs=30, learning_rate=1e-2, batch_tokens=4096)
HOW: dict[str, Any] = {"dialogue": "append", "max_loss": 1.0, "min_ordering": 0.5}


def test_it_learns_and_is_stored_as_an_ordinary_checkpoint(
    policy_folder: Path, rollouts: list[Episode], targets: pd.DataFrame, tmp_path: Path
) -> None:
    report = train_prm(policy_folder, rollouts, targets, SETTINGS, WORDING, tmp_path, job=Job(seed=0), **HOW)
    held_out = targets[targets["held_out"]]
    assert report.metrics["held_out_decisions"] <= len(held_out)
    loaded = checkpoints.load_prm(tmp_path)
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert loaded.config.num_labels == stock.config.num_labels == 1
    assert torch.equal(loaded.score.weight, stock.score.weight)
    assert not torch.equal(loaded.score.weight, checkpoints.prm_from_policy(policy_folder, seed=0).score.weight)
    # Values have the right direction where it was trained: what won stands above what lost.
    trained = examples(Chat(checkpoints.load_tokenizer(tmp_path), WORDING), rollouts, targets)
    trained = [e for e in trained if not targets["held_out"].iloc[e.rows[0]]]
    use_grouped_attention(loaded)
    q = torch.tensor([target for e in trained for target in e.targets])
    for logits in predict(loaded, trained, 4096):
        assert float(torch.corrcoef(torch.stack([torch.tensor(logits).sigmoid(), q]))[0, 1]) > 0.5
    assert {"ordering_accuracy", "reply_ordering_accuracy", "reply_held_out_loss"} <= report.metrics.keys()


def test_no_held_out_game_is_trained_on(
    policy_folder: Path,
    rollouts: list[Episode],
    targets: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    def note(model: PreTrainedModel, examples: list[Example], *arguments: object, **settings: object) -> float:
        seen.extend(row for e in examples for row in e.rows)
        return 0.0

    monkeypatch.setattr("agentprm_dagster.training.process_reward_model.fit", note)
    report = train_prm(policy_folder, rollouts, targets, SETTINGS, WORDING, tmp_path, job=Job(seed=0), **HOW)
    assert seen
    assert not targets["held_out"].iloc[seen].any()
    read = len(seen) + report.metrics["held_out_decisions"]
    tried = {(e.parent, e.start, e.own_turns[0].response) for e in rollouts if e.parent}
    assert read == sum(len(e.turns) for e in rollouts if e.parent is None) + len(tried), "nothing was left out"


def test_training_may_go_on_from_the_last_prm(
    policy_folder: Path, rollouts: list[Episode], targets: pd.DataFrame, tmp_path: Path
) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    brief = Prm(epochs=1, learning_rate=1e-9, batch_tokens=10**6)
    for seed, folder, previous in ((1, first, None), (2, second, first)):
        train_prm(
            policy_folder, rollouts, targets, brief, WORDING, folder, previous=previous, job=Job(seed=seed), **HOW
        )
    heads = [checkpoints.load_prm(folder).score.weight for folder in (first, second)]
    torch.testing.assert_close(*heads, atol=1e-6, rtol=0)
