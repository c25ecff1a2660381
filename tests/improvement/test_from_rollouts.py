"""The kinds of improvement that read no PRM: what each learns from the rollouts as they are."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adapters_of import adapter_of
from agentprm_dagster.config import Dialogue, Gates, Rollouts
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.checkpoint_files import is_adapter
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Resume, SilentMonitor, StageReport
from agentprm_dagster.episodes.tables import write_episodes
from agentprm_dagster.improvement import grpo, kinds, outcome_dpo, policy_gradient, rft, trajectory_dpo
from agentprm_dagster.improvement.branched_states import policy_prefixes
from agentprm_dagster.improvement.episode_pairs import EpisodePair
from agentprm_dagster.improvement.grouped_answers import answer_advantages, answers_by_state
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.improvement.settings import FromRollouts
from agentprm_dagster.improvement.stored import Start, begin, measured_kl
from agentprm_dagster.improvement.stored_training import pieces, train_on_examples
from agentprm_dagster.launch.job import Job
from agentprm_dagster.targets import mc
from agentprm_dagster.training.candidates import Candidate, CandidateTrees
from agentprm_dagster.training.loop import TrainingError
from agentprm_dagster.training.sft import row_log_probabilities

SETTINGS: dict[str, FromRollouts] = {
    "rft": rft.Settings(batch_episodes=3, learning_rate=1e-3),
    "outcome_dpo": outcome_dpo.Settings(per_game=2, batch_pairs=3, learning_rate=1e-3),
    "grpo": grpo.Settings(batch_episodes=2, learning_rate=1e-3, epochs=2),
}
GATES = ("policy_finite", "kl_budget", "pairs_to_learn_from")


def given(kind: str, dialogue: Format = "append", **changed: Any) -> Any:
    """What such a kind is given as settings."""
    return SimpleNamespace(
        improvement=SETTINGS[kind].model_copy(update=changed),
        dialogue=Dialogue(format=dialogue),
        gates=Gates(),
        rollouts=Rollouts(),
        targets=mc.Settings(gamma=0.9),
    )


def inputs_of(policy: Path, episodes: list[Episode], folder: Path) -> Inputs:
    folder.mkdir()
    write_episodes(episodes, folder)
    return Inputs(policy, folder, {}, {}, KIND)


def of_games(episodes: list[Episode], count: int) -> list[Episode]:
    """The episodes of the first so many games that were both won and lost."""
    both = [
        game
        for game in dict.fromkeys(episode.game for episode in episodes)
        if len({episode.won for episode in episodes if episode.game == game}) == 2
    ]
    return [episode for episode in episodes if episode.game in both[:count]]


@pytest.fixture
def inputs(taught_folder: Path, rollouts: list[Episode], tmp_path: Path) -> Inputs:
    return inputs_of(taught_folder, of_games(rollouts, 5), tmp_path / "rollouts")


def improved(kind: str, inputs: Inputs, settings: Any, out: Path, job: Job | None = None) -> StageReport:
    out.mkdir()
    return kinds.improvement_kind(kind).improve(inputs, settings, out, job or Job(seed=0))


def weights(folder: Path) -> list[torch.Tensor]:
    return [each.detach() for each in checkpoints.load_policy(folder).parameters()]


def same(one: Path, other: Path) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


@pytest.mark.parametrize("dialogue", ["append", pytest.param("restated", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", SETTINGS)
def test_it_runs_and_says_what_it_read(inputs: Inputs, tmp_path: Path, kind: str, dialogue: Format) -> None:
    settings = given(kind, dialogue)
    assert settings.improvement.reads == ()
    assert settings.improvement.reward is None
    report = improved(kind, inputs, settings, tmp_path / "out")
    assert {gate.name: gate.passed for gate in report.gates} == dict.fromkeys(GATES, True)
    (kl,) = (gate.value for gate in report.gates if gate.name == "kl_budget")
    assert report.metrics["kl"] == kl > 0
    assert report.metrics["tokens"] >= report.metrics["trained_tokens"] > 0
    assert "PRM" not in report.preview
    assert not same(tmp_path / "out", inputs.policy)


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_same_seed_makes_the_same_policy(inputs: Inputs, tmp_path: Path, kind: str) -> None:
    reports = [improved(kind, inputs, given(kind), tmp_path / name, Job(seed=3)) for name in ("one", "two")]
    assert reports[0] == reports[1]
    assert same(tmp_path / "one", tmp_path / "two")


class Stop(SilentMonitor):
    """Fails when it is told of so many steps."""

    def progress(self, done: int, total: int, what: str) -> None:
        if done == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", SETTINGS)
def test_what_was_broken_off_goes_on(inputs: Inputs, tmp_path: Path, kind: str) -> None:
    calm = improved(kind, inputs, given(kind), tmp_path / "calm")
    resume = Resume(tmp_path / "saved", seconds=0)
    with pytest.raises(KeyboardInterrupt):
        improved(kind, inputs, given(kind), tmp_path / "broken", Job(seed=0, resume=resume, monitor=Stop()))
    assert list((tmp_path / "saved").rglob("*.safetensors"))
    assert improved(kind, inputs, given(kind), tmp_path / "again", Job(seed=0, resume=resume)) == calm
    assert same(tmp_path / "calm", tmp_path / "again")


@pytest.mark.parametrize("kind", ["outcome_dpo", "grpo"])
def test_what_diverges_does_not_pass(inputs: Inputs, tmp_path: Path, kind: str) -> None:
    report = improved(kind, inputs, given(kind, learning_rate=1e30), tmp_path / "out")
    assert not report.gates[0].passed
    assert math.isnan(report.metrics["kl"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETTINGS)
def test_an_adapter_is_trained_alone(taught_folder: Path, rollouts: list[Episode], tmp_path: Path, kind: str) -> None:
    adapter = adapter_of(taught_folder, tmp_path / "adapter", rank=2, seed=0)
    report = improved(kind, inputs_of(adapter, of_games(rollouts, 5), tmp_path / "r"), given(kind), tmp_path / "out")
    assert report.gates[0].passed, "an adapter with random weights goes far"
    assert is_adapter(tmp_path / "out")
    assert not same(tmp_path / "out", adapter)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("rft", "none of 12 was won"),
        ("outcome_dpo", "a won and a lost episode of one game"),
        ("grpo", "in none of 12 episodes' groups they differ"),
    ],
)
def test_where_nothing_is_to_be_learnt_it_says_so(
    taught_folder: Path, rollouts: list[Episode], tmp_path: Path, kind: str, words: str
) -> None:
    lost = [replace(episode, reward=0.0) for episode in rollouts if episode.parent is None]
    with pytest.raises(TrainingError, match=words):
        improved(kind, inputs_of(taught_folder, lost, tmp_path / "rollouts"), given(kind), tmp_path / "out")


@pytest.fixture
def start(inputs: Inputs) -> Start:
    return begin(inputs, Job(seed=0))


def branched(episodes: list[Episode]) -> tuple[Episode, Episode]:
    """A whole episode that was won, and one of its branches that was lost."""
    by_id = {episode.episode_id: episode for episode in episodes}
    lost = next(each for each in episodes if each.parent and not each.won and by_id[each.parent].won)
    assert lost.parent
    return by_id[lost.parent], lost


@pytest.mark.parametrize("dialogue", ["append", "restated"])
def test_log_probabilities_of_an_episode_are_those_of_its_answers(
    start: Start, inputs: Inputs, dialogue: Format
) -> None:
    won, lost = branched(inputs.episodes)
    (example,) = trajectory_dpo.examples(start, [EpisodePair(won, lost, 0, lost.start)], dialogue, None)
    for side, (episode, first) in enumerate(((won, 0), (lost, lost.start))):
        prefixes = start.chat.conversations(episode, dialogue, range(first, len(episode.turns)))
        candidates = [
            Candidate((i, place), tuple(read.ids[begin:end]), 1)
            for i, read in enumerate(prefixes)
            for place, (begin, end) in enumerate(read.answers)
        ]
        with torch.no_grad():
            one_by_one = CandidateTrees(prefixes, candidates).log_probabilities(start.model)
        assert example.reference[side] == pytest.approx(float(one_by_one.sum()), rel=1e-4)


def test_pieces_give_what_one_reading_gives(start: Start, inputs: Inputs) -> None:
    won, lost = branched(inputs.episodes)
    pairs = [EpisodePair(won, lost, lost.start, lost.start), EpisodePair(won, lost, 0, 0)]
    at_once, apart = (trajectory_dpo.examples(start, pairs, "append", most) for most in (None, 1))
    for one, other in zip(at_once, apart, strict=True):
        assert one.reference == pytest.approx(other.reference, rel=1e-5)
    assert list(pieces(at_once, 1, 9)) == [[i] for i in sorted(range(2), key=lambda i: -at_once[i].padded)]


def log_p(model: Any, chat: Chat, episode: Episode, first: int) -> float:
    """log p of an episode's answers from a turn on."""
    rows = trajectory_dpo.trajectory_rows(chat, episode, first, "append")
    with torch.no_grad():
        return float(row_log_probabilities(model, rows)[0].sum())


def test_what_was_won_becomes_likelier_than_what_was_lost(start: Start, inputs: Inputs) -> None:
    won, lost = branched(inputs.episodes)
    first = lost.start
    before = [log_p(start.model, start.chat, each, first) for each in (won, lost)]
    read = trajectory_dpo.examples(start, [EpisodePair(won, lost, first, first)], "append", None)
    settings = outcome_dpo.Settings(epochs=8, learning_rate=3e-3, beta=0.1)
    done = train_on_examples(start, read, settings, 1, Job(seed=0), trajectory_dpo.trajectory_work, settings.beta)
    after = [log_p(start.model, start.chat, each, first) for each in (won, lost)]
    assert done.history[0]["margin"] == pytest.approx(0, abs=1e-3), "it begins at its reference"
    assert done.history[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert after[0] - after[1] > before[0] - before[1] + 1
    assert done.history[-1]["margin"] > 1


def test_how_far_it_went_is_measured_on_its_own_answers(start: Start, inputs: Inputs) -> None:
    prefixes = policy_prefixes(start.chat, inputs.episodes, "append")
    assert measured_kl(start, prefixes, new=8, seed=0) == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        for parameter in start.model.parameters():
            parameter.mul_(1.1)
    assert measured_kl(start, prefixes, new=8, seed=0) > 0.01
    start.model.get_input_embeddings().weight.data.fill_(torch.nan)
    assert math.isnan(measured_kl(start, prefixes, new=8, seed=0)), "which the gate refuses"


def answers_of(start: Start, episodes: list[Episode], omega: float = 1.0) -> list[policy_gradient.Example]:
    advantages = answer_advantages(episodes, gamma=0.9, omega=omega, normalise="std")
    return policy_gradient.examples(start, episodes, answers_by_state(episodes, advantages), "append", None)


def test_better_answers_become_likelier_than_worse_ones(start: Start, inputs: Inputs) -> None:
    read = answers_of(start, inputs.episodes)
    settings = grpo.Settings(epochs=6, learning_rate=3e-3)
    work = (policy_gradient.policy_gradient_work, settings.clip, settings.kl_weight)
    done = train_on_examples(start, read, settings, 2, Job(seed=0), *work)
    trees = policy_gradient.trees_of(read)
    before = torch.tensor([value for example in read for answer in example.before for value in answer])
    with torch.no_grad():
        gained = trees.answers.sums(trees.token_log_probabilities(start.model) - before)
    advantages = torch.tensor([value for example in read for value in example.advantages])
    assert float(gained[advantages > 0].mean()) > float(gained[advantages < 0].mean()) + 0.2
    assert done.history[0]["kl"] == pytest.approx(0, abs=1e-4), "it begins at its reference"
    assert done.history[0]["clipped"] == 0
    assert done.history[-1]["kl"] > 0


def test_the_first_loss_is_minus_the_mean_advantage(start: Start, inputs: Inputs) -> None:
    read = answers_of(start, inputs.episodes)[:3]
    (piece,) = policy_gradient.policy_gradient_work(start.model, 0, 0.2, 0.04)(read)
    terms, _ = piece.read()
    advantages = [value for example in read for value in example.advantages]
    assert float(terms["answers"].total.detach()) == pytest.approx(-sum(advantages), abs=1e-2)
    assert piece.items == {"answers": len(advantages), "kl": len(advantages)}


def test_own_turns_alone_are_imitated(taught_folder: Path, rollouts: list[Episode]) -> None:
    from agentprm_dagster.training.sft import sft_rows

    chat = Chat(checkpoints.load_tokenizer(taught_folder), WORDING)
    branch = next(each for each in rollouts if each.parent and each.won and each.start)
    (row,) = sft_rows([branch], chat)
    (read,) = chat.conversations(branch)
    own = [i for t, span in enumerate(read.answers) if t >= branch.start for i in range(*span)]
    assert [i for i, label in enumerate(row.labels) if label != -100] == own
    assert row.ids == read.ids
