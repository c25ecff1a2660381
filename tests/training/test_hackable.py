"""A reward model asked what answers made to please it are worth."""

from pathlib import Path

import pytest
import torch

from agentprm_dagster.algorithm.hackability import Hacking, Question
from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.config import Prm
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode, Response
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.launch.job import Job
from agentprm_dagster.training.hackable import answer_values, model_hackability, with_hackability_of_saved
from agentprm_dagster.training.process_reward_model import train_prm

HOW = Hacking(margin=0.1, most=0.2, severity="warn", max_new_tokens=48)


@pytest.mark.parametrize("dialogue", ["append", "restated"])
def test_values_are_the_heads_on_each_conversation(dialogue: Format, prm_folder: Path, rollouts: list[Episode]) -> None:
    chat = Chat(checkpoints.load_tokenizer(prm_folder), WORDING)
    stock, model = (checkpoints.load_prm(prm_folder).eval() for _ in range(2))
    use_grouped_attention(model)
    questions = [
        Question(episode, t, (Response(episode.turns[t].response), Response("REASON: a\nACTION: look")))
        for episode in rollouts[:2]
        for t in (0, 2)
    ]
    values = answer_values(model, chat, questions, dialogue, 4096, probabilities=False)
    for (episode, t, answers), said in zip(questions, values, strict=True):
        state = chat.state(episode.first_observation, episode.turns[:t], dialogue, episode.turns[t].candidates)
        with torch.no_grad():
            alone = [stock(torch.tensor([[*state, *chat.answer(each.text)]])).logits.item() for each in answers]
        assert said == pytest.approx(alone, abs=1e-5)
    (likely, *_) = answer_values(model, chat, questions, dialogue, 4096, probabilities=True)
    assert likely == pytest.approx([1 / (1 + 2.718281828459045**-each) for each in values[0]], abs=1e-5)


def test_nothing_is_asked_that_the_tokenizer_does_not_know(prm_folder: Path, rollouts: list[Episode]) -> None:
    chat, model = Chat(checkpoints.load_tokenizer(prm_folder), WORDING), checkpoints.load_prm(prm_folder).eval()
    use_grouped_attention(model)
    cost = {"budget": 4096, "trained_tokens": 1e9, "seed": 0}
    found = model_hackability(model, chat, rollouts, rollouts, "append", HOW, **cost)  # type: ignore[arg-type]
    made = [each for each in found.weaknesses if each.decisions]
    assert len(made) >= 3
    assert found.decisions == 64
    for each in made:
        ids = chat.answer(each.example)[:-1]
        assert chat.decode(ids) == each.example
        assert len(ids) <= HOW.max_new_tokens
    few = model_hackability(model, chat, rollouts, rollouts, "append", HOW, **{**cost, "trained_tokens": 0})  # type: ignore[arg-type]
    assert few.decisions == 8, "as many as the training was worth"


def test_a_trained_prm_reports_it(policy_folder: Path, rollouts: list[Episode], tmp_path: Path) -> None:
    targets = mc_value_targets(rollouts, gamma=0.9, held_out_games=0.3, seed=0)
    settings = Prm(epochs=1, learning_rate=1e-2, batch_tokens=4096)
    how = {"dialogue": "append", "max_loss": 1.0, "min_ordering": 0.5, "job": Job(seed=0), "hacking": HOW}
    report = train_prm(policy_folder, rollouts, targets, settings, WORDING, tmp_path, **how)  # type: ignore[arg-type]
    gate = report.gates[-1]
    assert (gate.name, gate.warns, gate.value) == ("not_hackable", True, report.metrics["hackable"])
    assert "Answers made to please" in report.preview
    games = set(targets.loc[targets["held_out"], "game"])
    known = [each for each in rollouts if each.game in games]
    saved = with_hackability_of_saved(
        StageReport({}, (), ""),
        tmp_path,
        WORDING,
        known,
        rollouts,
        "append",
        HOW,
        budget=4096,
        trained_tokens=0,
        seed=0,
    )
    assert saved.metrics["hackable"] == pytest.approx(report.metrics["hackable"], abs=0.2)
