"""The PRM: what is read, what is learnt, that its checkpoint is an ordinary one."""

from math import exp, log, log1p
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

from agentprm_dagster.config import Experiment, Prm
from agentprm_dagster.core.dialogue import restated_prompt
from agentprm_dagster.core.stage import SilentMonitor
from agentprm_dagster.core.targets import mc_value_targets
from agentprm_dagster.core.types import Episode
from agentprm_dagster.models import checkpoints
from agentprm_dagster.models.attention import use_grouped_attention
from agentprm_dagster.models.chat import Chat
from agentprm_dagster.models.token_tree import TokenTree
from agentprm_dagster.training.episode_trees import families
from agentprm_dagster.training.process_reward_model import (
    Example,
    decision_logits,
    fit,
    ordered_pairs,
    predict,
    prm_examples,
    prm_loss,
    token_budget_batches,
    train_prm,
)


@pytest.fixture(scope="module")
def targets(rollouts: list[Episode]) -> pd.DataFrame:
    return mc_value_targets(rollouts, gamma=0.9, weighting="return_to_go", held_out_games=0.3, seed=0)


@pytest.fixture(scope="module")
def chat(tokenizer: PreTrainedTokenizerFast) -> Chat:
    return Chat(tokenizer)


@pytest.fixture(scope="module")
def prm(policy_folder: Path) -> PreTrainedModel:
    model = checkpoints.prm_from_policy(policy_folder, seed=0).eval()
    use_grouped_attention(model)
    return model


def examples(
    chat: Chat, rollouts: list[Episode], targets: pd.DataFrame, *, branch_turns: int = 1, restated: bool = False
) -> list[Example]:
    dialogue = "restated" if restated else "append"
    return prm_examples(chat, rollouts, targets, dialogue, margin=0.0, branch_turns=branch_turns)


def prefix(chat: Chat, episode: Episode, turn: int) -> list[int]:
    """The conversation up to and with the answer of a turn."""
    return chat.episode(episode.first_observation, episode.turns[: turn + 1]).ids


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
    with torch.no_grad():
        logits = decision_logits(prm, some)
        alone = [
            stock(torch.tensor([prefix(chat, episodes[d["episode_id"]], int(d["turn"]))])).logits.item()
            for d in decisions
        ]
    assert logits.tolist() == pytest.approx(alone, abs=1e-5)
    assert predict(prm, some, budget=1) == pytest.approx(alone, abs=1e-5)


def test_decisions_carry_their_targets(chat: Chat, rollouts: list[Episode], targets: pd.DataFrame) -> None:
    some = examples(chat, rollouts, targets)
    for example in some:
        assert example.targets == targets["q"].iloc[example.rows].tolist()
        assert [example.tree.ids[end] for end in example.ends] == [chat.end] * len(example.ends)
        for better, worse in example.pairs:
            states = targets["state"].iloc[[example.rows[better], example.rows[worse]]]
            assert states.nunique() == 1
            assert example.targets[better] > example.targets[worse]
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
    with torch.no_grad():
        logits = decision_logits(prm, some)
        for t, turn in enumerate(episode.turns):
            prompt = chat.prompt(restated_prompt(episode.first_observation, episode.turns[:t], turn.candidates))
            alone = prm(torch.tensor([[*prompt, *chat.answer(turn.response)]])).logits.item()
            assert logits[t].item() == pytest.approx(alone, abs=1e-5)


def example(targets: list[float], pairs: list[tuple[int, int]]) -> Example:
    """An example of which only the targets and pairs matter."""
    places = list(range(len(targets)))
    return Example(TokenTree(), ends=places, targets=targets, rows=places, pairs=pairs)


def softplus(x: float) -> float:
    return log1p(exp(x))


def test_the_loss_is_soft_cross_entropy() -> None:
    logits = torch.tensor([0.5, -1.0, 2.0])
    some = [example([1.0, 0.25], []), example([0.0], [])]
    # -q log sigma(x) - (1 - q) log(1 - sigma(x)) = softplus(x) - q x
    expected = (softplus(0.5) - 0.5 + softplus(-1.0) + 0.25 + softplus(2.0)) / 3
    assert prm_loss(logits, some, 0.0).item() == pytest.approx(expected)
    stock = torch.nn.BCEWithLogitsLoss()(logits, torch.tensor([1.0, 0.25, 0.0]))
    assert prm_loss(logits, some, 1.0).item() == pytest.approx(stock.item()), "without pairs there is nothing else"


def test_the_pairwise_term_by_hand() -> None:
    logits = torch.tensor([0.5, -1.0, 2.0, 1.0, 1.5])
    some = [example([1.0, 0.25], [(0, 1)]), example([0.0, 0.9, 0.4], [(1, 0), (1, 2)])]
    alone = prm_loss(logits, some, 0.0).item()
    pairs = [0.75 * softplus(-1.0 - 0.5), 0.9 * softplus(2.0 - 1.0), 0.5 * softplus(1.5 - 1.0)]
    assert prm_loss(logits, some, 2.0).item() == pytest.approx(alone + 2.0 * sum(pairs) / 3)


def test_certainty_about_the_right_thing_costs_little() -> None:
    right, wrong = torch.tensor([9.0, -9.0]), torch.tensor([-9.0, 9.0])
    some = [example([1.0, 0.0], [(0, 1)])]
    assert prm_loss(right, some, 1.0) < 2 * log(1.001) < prm_loss(wrong, some, 1.0)


def test_pairs_by_hand() -> None:
    decisions = [("s", "a", 0.5), ("t", "a", 0.1), ("s", "b", 0.9), ("s", "a", 0.5), ("s", "c", 0.45), ("t", "b", 0.1)]
    # a stands in s twice and counts once; in t both are worth the same.
    assert ordered_pairs(decisions, 0.0) == [(0, 4), (2, 0), (2, 4)]
    assert ordered_pairs(decisions, 0.1) == [(2, 0), (2, 4)]
    assert ordered_pairs(decisions, 0.45) == []


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


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_two_steps_move_every_parameter(
    policy_folder: Path,
    chat: Chat,
    rollouts: list[Episode],
    targets: pd.DataFrame,
    optimizer: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    model, before = (checkpoints.prm_from_policy(policy_folder, seed=0) for _ in range(2))
    use_grouped_attention(model)
    some = examples(chat, rollouts, targets)[:4]
    settings = Prm(epochs=1, warmup_ratio=0, optimizer=optimizer)
    loss = fit(model, [some[:2], some[2:]], settings, seed=0, monitor=SilentMonitor())
    assert torch.tensor(loss).isfinite()
    for (name, parameter), old in zip(model.named_parameters(), before.parameters(), strict=True):
        assert not torch.equal(parameter, old), name
    assert capfd.readouterr().out == ""


EXPERIMENT = Experiment(name="tiny", prm=Prm(epochs=30, learning_rate=1e-2, batch_tokens=4096))


def test_it_learns_and_is_stored_as_an_ordinary_checkpoint(
    policy_folder: Path, rollouts: list[Episode], targets: pd.DataFrame, tmp_path: Path
) -> None:
    report = train_prm(
        policy_folder, rollouts, targets, EXPERIMENT, tmp_path, previous=None, seed=0, monitor=SilentMonitor()
    )
    held_out = targets[targets["held_out"]]
    assert report.metrics["held_out_decisions"] <= len(held_out)
    loaded = checkpoints.load_prm(tmp_path)
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert loaded.config.num_labels == stock.config.num_labels == 1
    assert torch.equal(loaded.score.weight, stock.score.weight)
    assert not torch.equal(loaded.score.weight, checkpoints.prm_from_policy(policy_folder, seed=0).score.weight)
    # Values have the right direction where it was trained: what won stands above what lost.
    trained = examples(Chat(checkpoints.load_tokenizer(tmp_path)), rollouts, targets)
    trained = [e for e in trained if not targets["held_out"].iloc[e.rows[0]]]
    use_grouped_attention(loaded)
    values = torch.tensor(predict(loaded, trained, 4096)).sigmoid()
    q = torch.tensor([target for e in trained for target in e.targets])
    assert float(torch.corrcoef(torch.stack([values, q]))[0, 1]) > 0.5


def test_no_held_out_game_is_trained_on(
    policy_folder: Path,
    rollouts: list[Episode],
    targets: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    def note(model: PreTrainedModel, batches: list[list[Example]], *arguments: object, **settings: object) -> float:
        seen.extend(row for batch in batches for e in batch for row in e.rows)
        return 0.0

    monkeypatch.setattr("agentprm_dagster.training.process_reward_model.fit", note)
    report = train_prm(
        policy_folder, rollouts, targets, EXPERIMENT, tmp_path, previous=None, seed=0, monitor=SilentMonitor()
    )
    assert seen
    assert not targets["held_out"].iloc[seen].any()
    read = len(seen) + report.metrics["held_out_decisions"]
    tried = {(e.parent, e.start, e.own_turns[0].response) for e in rollouts if e.parent}
    assert read == sum(len(e.turns) for e in rollouts if e.parent is None) + len(tried), "nothing was left out"


def test_training_may_go_on_from_the_last_prm(
    policy_folder: Path, rollouts: list[Episode], targets: pd.DataFrame, tmp_path: Path
) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    brief = EXPERIMENT.model_copy(update={"prm": Prm(epochs=1, learning_rate=1e-9, batch_tokens=10**6)})
    for seed, folder, previous in ((1, first, None), (2, second, first)):
        train_prm(
            policy_folder, rollouts, targets, brief, folder, previous=previous, seed=seed, monitor=SilentMonitor()
        )
    heads = [checkpoints.load_prm(folder).score.weight for folder in (first, second)]
    torch.testing.assert_close(*heads, atol=1e-6, rtol=0)
