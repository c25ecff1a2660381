"""Fine-tuning on demonstrations: what is learnt from, and that the result is an ordinary checkpoint."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from agentprm_dagster.algorithm.terms import loss_of
from agentprm_dagster.config import Model, Sft
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.tokenizer import build_tokenizer
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.launch.job import Job
from agentprm_dagster.rollouts.demonstrations import demonstrate
from agentprm_dagster.training.optimizers import OptimizerName
from agentprm_dagster.training.sft import Row, answers_work, fit, reading_rows, sft_rows, train_initial_policy


class Notes:
    """A monitor that remembers."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.numbers: list[dict[str, float]] = []

    def progress(self, done: int, total: int, what: str) -> None:
        self.steps.append((done, total))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self.numbers.append(dict(values))


def test_what_is_learnt_is_exactly_the_answers(
    tokenizer: PreTrainedTokenizerFast, demonstrations: list[Episode]
) -> None:
    rows = sft_rows(demonstrations, Chat(tokenizer, WORDING))
    assert len(rows) == len(demonstrations)
    for row, episode in zip(rows, demonstrations, strict=True):
        learnt = [label for label in row.labels if label != -100]
        assert tokenizer.decode(learnt) == "".join(f"{turn.response}<|end|>" for turn in episode.turns)
        for label, token in zip(row.labels, row.ids, strict=True):
            assert label in (-100, token)


def test_mistakes_are_read_but_not_learnt(household_games: list[PlayableGame]) -> None:
    episode = demonstrate(
        household_games[0], KIND, episode_id="e", expert="walkthrough", max_steps=30, seed=0, action_noise=0.5
    )
    meant = [turn for turn in episode.turns if turn.admissible]
    assert 0 < len(meant) < len(episode.turns)
    said = WORDING.conversation(episode.first_observation, episode.turns)
    tokenizer = build_tokenizer(message["content"] for message in said)
    (row,) = sft_rows([episode], Chat(tokenizer, WORDING))
    assert tokenizer.decode([label for label in row.labels if label != -100]) == "".join(
        f"{turn.response}<|end|>" for turn in meant
    )
    assert all(turn.response in tokenizer.decode(row.ids) for turn in episode.turns)
    restated = sft_rows([episode], Chat(tokenizer, WORDING), "restated")
    learnt = [tokenizer.decode([label for label in row.labels if label != -100]) for row in restated]
    assert learnt == [f"{turn.response}<|end|>" for turn in meant]


def test_prose_is_learnt_word_for_word(household_games: list[PlayableGame]) -> None:
    """Answers of a language model: the restated prompt's form, with line breaks, in a dialogue that only grows."""
    shown = demonstrate(household_games[0], KIND, episode_id="e", expert="walkthrough", max_steps=30, seed=0)
    said = [f"REASON:\nIt's likely there (I'd bet); see the list!\nACTION:\n{turn.action}" for turn in shown.turns]
    turns = tuple(replace(turn, response=text) for turn, text in zip(shown.turns, said, strict=True))
    asked = replace(shown, turns=turns)
    tokenizer = build_tokenizer(message["content"] for message in WORDING.conversation(asked.first_observation, turns))
    (row,) = sft_rows([asked], Chat(tokenizer, WORDING))
    assert tokenizer.decode([label for label in row.labels if label != -100]) == "".join(f"{t}<|end|>" for t in said)
    assert tokenizer.unk_token_id not in row.ids


def test_reading_learns_all_that_follows_the_opening(
    tokenizer: PreTrainedTokenizerFast, demonstrations: list[Episode]
) -> None:
    for row, episode in zip(reading_rows(demonstrations, Chat(tokenizer, WORDING)), demonstrations, strict=True):
        read = tokenizer.decode([label for label in row.labels if label != -100])
        told = [f"{turn.response}<|end|><|user|>{turn.observation}<|assistant|>" for turn in episode.turns]
        assert read == "".join(told)


def trl_trainer(folder: Path, policy: Path, rows: datasets.Dataset, **settings: object) -> SFTTrainer:
    args = SFTConfig(
        output_dir=str(folder),
        report_to=[],
        max_length=None,
        bf16=False,
        use_cpu=True,
        disable_tqdm=True,
        activation_checkpointing=False,
        **settings,
    )
    tokenizer = AutoTokenizer.from_pretrained(policy)
    model = AutoModelForCausalLM.from_pretrained(policy)
    return SFTTrainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer)


def test_the_loss_is_trls_own_on_assistant_turns(
    policy_folder: Path, demonstrations: list[Episode], tmp_path: Path
) -> None:
    episodes = demonstrations[:3]
    ours = sft_rows(episodes, Chat(checkpoints.load_tokenizer(policy_folder), WORDING))
    theirs = datasets.Dataset.from_list(
        [{"messages": WORDING.conversation(episode.first_observation, episode.turns)} for episode in episodes]
    )
    given = datasets.Dataset.from_list([{"input_ids": row.ids, "labels": row.labels} for row in ours])
    by_labels = trl_trainer(tmp_path, policy_folder, given)
    by_roles = trl_trainer(tmp_path, policy_folder, theirs, assistant_only_loss=True)
    batches = [trainer.data_collator(list(trainer.train_dataset)) for trainer in (by_labels, by_roles)]
    assert torch.equal(batches[0]["input_ids"], batches[1]["input_ids"])
    assert torch.equal(batches[0]["labels"], batches[1]["labels"])
    losses = [
        float(trainer.compute_loss(trainer.model, batch).detach())
        for trainer, batch in zip((by_labels, by_roles), batches, strict=True)
    ]
    assert losses[0] == pytest.approx(losses[1])
    assert losses[0] == pytest.approx(cross_entropy(policy_folder, ours), rel=1e-4)
    mine, theirs_too = checkpoints.load_policy(policy_folder), by_labels.model
    (piece,) = answers_work(mine)(ours)
    terms, _ = piece.read()
    assert losses[0] == pytest.approx(float(loss_of(terms).detach()), rel=1e-5)
    loss_of(terms).backward()
    by_labels.compute_loss(theirs_too, batches[0]).backward()
    for one, other in zip(mine.parameters(), theirs_too.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def cross_entropy(policy: Path, rows: list[Row]) -> float:
    """The mean over all learnt tokens, each episode read for itself."""
    model = checkpoints.load_policy(policy)
    losses = []
    for row in rows:
        log_p = model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
        losses += [-float(log_p[t - 1, label]) for t, label in enumerate(row.labels) if label != -100]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_two_steps_move_every_parameter(
    policy_folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    demonstrations: list[Episode],
    optimizer: OptimizerName,
    capfd: pytest.CaptureFixture[str],
) -> None:
    model, before = checkpoints.load_policy(policy_folder), checkpoints.load_policy(policy_folder)
    settings = Sft(epochs=1, batch_episodes=4, learning_rate=1e-3, optimizer=optimizer)
    notes = Notes()
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        rows = sft_rows(demonstrations[:8], Chat(tokenizer, WORDING))
        told = fit(model, rows, settings, job=Job(seed=0, monitor=notes))
    assert told["steps"] == 2
    assert math.isfinite(told["train_loss"])
    for (name, parameter), old in zip(model.named_parameters(), before.parameters(), strict=True):
        assert not torch.equal(parameter, old), name
        assert bool(parameter.isfinite().all()), name
    assert notes.steps == [(1, 2), (2, 2)]
    assert notes.numbers
    assert capfd.readouterr().out == "", "the monitor is told, and nobody else"


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_last_of_many_steps_is_a_small_one(
    policy_folder: Path, tokenizer: PreTrainedTokenizerFast, demonstrations: list[Episode], optimizer: OptimizerName
) -> None:
    model = checkpoints.load_policy(policy_folder)
    weights: list[torch.Tensor] = []

    class Watch(SilentMonitor):
        def progress(self, done: int, total: int, what: str) -> None:
            weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))

    rows = sft_rows(demonstrations[:8], Chat(tokenizer, WORDING))
    fit(model, rows, Sft(epochs=6, batch_episodes=4, optimizer=optimizer), job=Job(seed=0, monitor=Watch()))
    moved = [float((after - before).norm()) for before, after in pairwise(weights)]
    assert moved[-1] < moved[0] / 5, "the learning rate fell, and the trainer's optimiser noticed"


def test_the_same_seed_gives_the_same_weights(
    policy_folder: Path, tokenizer: PreTrainedTokenizerFast, demonstrations: list[Episode]
) -> None:
    def weights(seed: int) -> torch.Tensor:
        model = checkpoints.load_policy(policy_folder)
        rows = sft_rows(demonstrations[:6], Chat(tokenizer, WORDING))
        fit(model, rows, Sft(epochs=1, batch_episodes=2), job=Job(seed=seed))
        return torch.cat([parameter.flatten() for parameter in model.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


SMALL = Model(hidden_size=16, layers=1, heads=2, kv_heads=1, intermediate_size=32, context=512)
HOW: dict[str, Any] = {"dialogue": "append", "job": Job(seed=0)}


def test_an_initial_policy_is_an_ordinary_checkpoint(demonstrations: list[Episode], tmp_path: Path) -> None:
    settings = Sft(epochs=2, batch_episodes=6, learning_rate=1e-2)
    report = train_initial_policy(demonstrations[:12], [], SMALL, settings, WORDING, tmp_path, **HOW)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert report.metrics["parameters"] == model.num_parameters()
    assert report.metrics["vocabulary"] == len(tokenizer) == model.config.vocab_size
    assert report.metrics["steps"] == 4
    assert report.metrics["episodes"] == 12
    assert [gate.passed for gate in report.gates] == [True]
    messages = WORDING.conversation(demonstrations[0].first_observation, demonstrations[0].turns)
    ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
    chat = Chat(tokenizer, WORDING)
    assert ids == chat.conversations(demonstrations[0])[0].ids
    assert tokenizer.unk_token_id not in ids


def test_what_was_read_before_lowers_the_loss(demonstrations: list[Episode], tmp_path: Path) -> None:
    settings = Sft(epochs=1, batch_episodes=6, learning_rate=1e-2)
    reports = [
        train_initial_policy(
            demonstrations[:12], read, SMALL, settings, WORDING, tmp_path / str(i), reading_epochs=4, **HOW
        )
        for i, read in enumerate([[], demonstrations[12:36]])
    ]
    assert reports[1].metrics["train_loss"] < reports[0].metrics["train_loss"]


def test_a_named_model_keeps_its_tokenizer(
    policy_folder: Path, tokenizer: PreTrainedTokenizerFast, demonstrations: list[Episode], tmp_path: Path
) -> None:
    base, settings = Model(name=str(policy_folder)), Sft(epochs=1, learning_rate=1e-4)
    train_initial_policy(demonstrations[:2], [], base, settings, WORDING, tmp_path, **HOW)
    assert checkpoints.load_tokenizer(tmp_path).get_vocab() == tokenizer.get_vocab()
    assert checkpoints.load_policy(tmp_path).config.hidden_size == 32
