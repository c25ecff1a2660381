"""Online DPO against an implicit reward: what an answer is worth by hand, and that both trainings are one stage."""

import copy
import math
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
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Resume, SilentMonitor, StageReport
from agentprm_dagster.episodes.tables import write_episodes
from agentprm_dagster.improvement import implicit_dpo, outcome_dpo
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.improvement.judging import ImplicitJudge
from agentprm_dagster.launch.job import Job
from agentprm_dagster.training.candidates import Candidate, CandidateTrees

SETTINGS = implicit_dpo.Settings(
    steps=4,
    episodes_per_step=3,
    states_per_episode=2,
    candidates=4,
    min_gap=0,
    max_new_tokens=24,
    temperature=1.5,
    learning_rate=1e-3,
    implicit=outcome_dpo.Settings(per_game=2, batch_pairs=3, learning_rate=1e-3),
)


def given(dialogue: Format = "append") -> Any:
    """What the kind is given as settings."""
    return SimpleNamespace(improvement=SETTINGS, dialogue=Dialogue(format=dialogue), gates=Gates(), rollouts=Rollouts())


def of_policy(policy: Path, episodes: list[Episode], folder: Path) -> Inputs:
    both = [
        game
        for game in dict.fromkeys(episode.game for episode in episodes)
        if len({episode.won for episode in episodes if episode.game == game}) == 2
    ]
    folder.mkdir()
    write_episodes([episode for episode in episodes if episode.game in both[:5]], folder)
    return Inputs(policy, folder, {}, {}, KIND)


@pytest.fixture
def inputs(taught_folder: Path, rollouts: list[Episode], tmp_path: Path) -> Inputs:
    return of_policy(taught_folder, rollouts, tmp_path / "rollouts")


def improved(inputs: Inputs, out: Path, job: Job | None = None, dialogue: Format = "append") -> StageReport:
    out.mkdir()
    return implicit_dpo.improve(inputs, given(dialogue), out, job or Job(seed=0))


def weights(folder: Path) -> list[torch.Tensor]:
    return [each.detach() for each in checkpoints.load_policy(folder).parameters()]


def same(one: Path, other: Path) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_an_answer_is_worth_its_log_ratio_beside_the_others(taught_folder: Path, demonstrations: list[Episode]) -> None:
    reference = checkpoints.load_policy(taught_folder)
    chat = Chat(checkpoints.load_tokenizer(taught_folder), WORDING)
    policy = copy.deepcopy(reference)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1.05)
    for model in (policy, reference):
        use_grouped_attention(model)
    (prefix,) = chat.conversations(demonstrations[0], "append", [1])
    texts = ["REASON: I look.\nACTION: look", "REASON: I wait.\nACTION: inventory", "no command"]
    answers = [tuple(chat.answer(text, [])) for text in texts]
    candidates = [Candidate((0, 0), ids, draws) for ids, draws in zip(answers, (1, 3, 1), strict=True)]
    trees = CandidateTrees([prefix], candidates)
    values, read = ImplicitJudge(policy, reference, chat, beta=0.5).values([prefix], candidates, trees)

    def log_p(model: Any, ids: tuple[int, ...]) -> float:
        prompt = list(prefix.prompt[: prefix.states[0]])
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        return float(logits[torch.arange(len(ids)), torch.tensor(ids)].sum())

    rewards = [0.5 * (log_p(policy, ids) - log_p(reference, ids)) for ids in answers]
    mean = (rewards[0] + 3 * rewards[1] + rewards[2]) / 5
    expected = [1 / (1 + math.exp(mean - reward)) for reward in rewards[:2]]
    assert values[:2].tolist() == pytest.approx(expected, abs=1e-4)
    assert abs(expected[0] - expected[1]) > 0.01
    assert values[2] == 0, "what cannot be read as a command is worth nothing"
    assert read == 2 * trees.tokens_read


@pytest.mark.parametrize("dialogue", ["append", pytest.param("restated", marks=pytest.mark.slow)])
def test_it_runs_and_says_what_it_read(inputs: Inputs, tmp_path: Path, dialogue: Format) -> None:
    report = improved(inputs, out := tmp_path / "out", dialogue=dialogue)
    gates = {gate.name: gate.passed for gate in report.gates}
    # In the other form this policy may answer nothing readable; then it stays as it is.
    learnt = gates.pop("pairs_to_learn_from")
    assert gates == {"policy_finite": True, "kl_budget": True}
    assert learnt or dialogue == "restated"
    assert report.metrics["implicit_reward_pairs"] > 0
    assert report.metrics["implicit_reward_margin"] > 0
    assert report.metrics["tokens"] > report.metrics["trained_tokens"] > 0
    assert same(out, inputs.policy) != learnt
    assert not same(out / implicit_dpo.REWARD, inputs.policy)
    assert not same(out / implicit_dpo.REWARD, out)


def test_its_reward_is_what_dpo_on_outcomes_makes(inputs: Inputs, tmp_path: Path) -> None:
    improved(inputs, tmp_path / "out")
    (alone := tmp_path / "alone").mkdir()
    settings = SimpleNamespace(**{**vars(given()), "improvement": SETTINGS.implicit})
    outcome_dpo.improve(inputs, settings, alone, Job(seed=0))
    assert same(tmp_path / "out" / implicit_dpo.REWARD, alone)


class Stop(SilentMonitor):
    """Fails when it is told of so many updates of the reward, or of the policy."""

    def __init__(self, what: str) -> None:
        self.what = what

    def progress(self, done: int, total: int, what: str) -> None:
        if (done, what) == (2, self.what):
            raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["implicit_reward policy updates", "policy updates"])
def test_what_was_broken_off_goes_on(inputs: Inputs, tmp_path: Path, where: str) -> None:
    calm = improved(inputs, tmp_path / "calm")
    resume = Resume(tmp_path / "saved", seconds=0)
    with pytest.raises(KeyboardInterrupt):
        improved(inputs, tmp_path / "broken", Job(seed=0, resume=resume, monitor=Stop(where)))
    assert improved(inputs, tmp_path / "again", Job(seed=0, resume=resume)) == calm
    for name in ("", implicit_dpo.REWARD):
        assert same(tmp_path / "calm" / name, tmp_path / "again" / name)


@pytest.mark.slow
def test_an_adapter_is_trained_alone(taught_folder: Path, rollouts: list[Episode], tmp_path: Path) -> None:
    adapter = adapter_of(taught_folder, tmp_path / "adapter", rank=2, seed=0)
    report = improved(of_policy(adapter, rollouts, tmp_path / "rollouts"), out := tmp_path / "out")
    assert report.gates[0].passed
    assert is_adapter(out)
    assert is_adapter(out / implicit_dpo.REWARD)


def test_settings_name_what_is_read() -> None:
    assert SETTINGS.reads == ()
    assert SETTINGS.model_copy(update={"rationalised_weight": 0.1}).reads == ("mc_value_targets",)
    assert SETTINGS.reward is None
