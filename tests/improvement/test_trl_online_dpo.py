"""TRL's trainer and our loop: the same loss and the same gradients of the same answers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from agentprm_dagster.algorithm.terms import loss_of
from agentprm_dagster.config.catalog import ExperimentError, read_experiment
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement import dpo, trl
from agentprm_dagster.improvement.judging import Judge
from agentprm_dagster.improvement.online_dpo import terms_of
from agentprm_dagster.improvement.trl_online_dpo import build_trainer, improve_with_trl, prm_reward, prompts
from agentprm_dagster.launch.job import Job
from agentprm_dagster.training.candidates import Candidate, CandidateTrees

ONLY: dict[str, Any] = {"candidates": 2, "labels": "hard", "min_gap": 0, "kl_weight": 0}
SAME: dict[str, Any] = {"beta": 0.7, "steps": 2, "max_new_tokens": 16}
OURS, PLAN = dpo.Settings(**SAME, **ONLY), trl.Settings(**SAME)


@pytest.fixture(scope="module")
def chat(taught_folder: Path) -> Chat:
    return Chat(checkpoints.load_tokenizer(taught_folder), WORDING)


@pytest.fixture(scope="module")
def prm(taught_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prm")
    model = checkpoints.prm_from_policy(taught_folder, seed=2)
    torch.nn.init.normal_(model.score.weight, std=0.3, generator=torch.Generator().manual_seed(2))
    checkpoints.save(model, checkpoints.load_tokenizer(taught_folder), folder)
    return folder


def states_of(chat: Chat, episodes: list[Episode], dialogue: Format = "append") -> list[EpisodeTokens]:
    """Each state of the episodes' first three turns by itself."""
    return [prefix for episode in episodes for t in range(3) for prefix in chat.conversations(episode, dialogue, [t])]


@pytest.mark.parametrize("dialogue", ["append", "restated"])
def test_the_prompt_of_a_state_is_what_our_loop_reads(
    chat: Chat, demonstrations: list[Episode], dialogue: Format
) -> None:
    states = states_of(chat, demonstrations[:2], dialogue)
    for prefix, text in zip(states, prompts(chat, states, dialogue), strict=True):
        assert chat.encode(text) == prefix.prompt


def answers_for(chat: Chat, prefix: EpisodeTokens, other: Episode) -> list[list[int]]:
    """Two different answers in a state, end tokens included: its own, and one of another episode."""
    own = chat.answer(prefix.episode.turns[prefix.turns[0]].response)
    return [own, next(answer for turn in other.turns if (answer := chat.answer(turn.response)) != own)]


def test_the_same_answers_give_the_same_loss_and_gradients(
    taught_folder: Path, prm: Path, chat: Chat, demonstrations: list[Episode], tmp_path: Path
) -> None:
    prefixes = states_of(chat, demonstrations[:3])
    answers = [answers_for(chat, prefix, demonstrations[5]) for prefix in prefixes]
    policy, critic = checkpoints.load_policy(taught_folder), checkpoints.load_prm(prm).eval()
    torch.manual_seed(0)
    with torch.no_grad():  # a policy that has left its reference, so that the loss is not log 2
        for parameter in policy.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    reference = checkpoints.load_policy(taught_folder).eval()

    candidates = [Candidate((i, 0), tuple(ids), 1) for i, pair in enumerate(answers) for ids in pair]
    trees = CandidateTrees(prefixes, candidates)
    values, _ = Judge(critic, chat).values(prefixes, candidates, trees)
    pairs = values.view(-1, 2)
    assert (pairs[:, 0] != pairs[:, 1]).all(), "no ties, on which TRL trains and we do not"
    terms, ours = terms_of(policy, reference, trees, values, OURS)
    mine = loss_of(terms)
    mine.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in policy.named_parameters()}
    policy.zero_grad()

    trainer = build_trainer(policy, critic, chat, prompts(chat, prefixes, "append"), PLAN, seed=0, folder=str(tmp_path))
    trainer.ref_model = reference
    trainer._generate = lambda model, prompts, images: drawn(chat, prefixes, answers)
    loss = trainer.training_step(policy, {"prompt": prompts(chat, prefixes, "append")})
    assert float(loss) == pytest.approx(float(mine.detach()), abs=1e-5)
    assert float(loss) != pytest.approx(0.6931, abs=1e-2)
    for name, parameter in policy.named_parameters():
        assert torch.allclose(parameter.grad, gradients[name], atol=1e-5), name
    assert trainer.stats["objective/scores"] == [pytest.approx(ours["value"], abs=1e-5)]
    assert trainer.stats["rewards/accuracies"] == [pytest.approx(ours["pair_accuracy"])]


@torch.no_grad()
def test_what_was_cut_or_has_no_agreed_form_is_worth_nothing_to_both(
    prm: Path, chat: Chat, demonstrations: list[Episode]
) -> None:
    (prefix,) = states_of(chat, demonstrations[:1])[:1]
    critic = checkpoints.load_prm(prm).eval()
    agreed, other = chat.answer(prefix.episode.turns[0].response), chat.answer("look")
    candidates = [
        Candidate((0, 0), tuple(ids), 1, cut) for ids, cut in ((agreed, False), (agreed, True), (other, False))
    ]
    ours, _ = Judge(critic, chat).values([prefix], candidates, CandidateTrees([prefix], candidates))
    assert [float(value) > 0 for value in ours] == [True, False, False]
    said = [list(each.ids[:-1] if each.cut else each.ids) for each in candidates]
    theirs = prm_reward(critic, chat)(prompts(chat, [prefix], "append") * 3, said)
    assert theirs == pytest.approx(ours.tolist(), abs=1e-5)


def drawn(chat: Chat, prefixes: list[EpisodeTokens], answers: list[list[list[int]]]) -> tuple[Any, ...]:
    """Answers as TRL's generation gives them: all first ones, then all second ones, padded."""
    pad = chat.tokenizer.pad_token_id
    states = [torch.tensor(prefix.prompt) for prefix in prefixes] * 2
    said = [torch.tensor(pair[k]) for k in range(2) for pair in answers]
    prompt_ids = pad_sequence(states, batch_first=True, padding_value=pad, padding_side="left")
    completion_ids = pad_sequence(said, batch_first=True, padding_value=pad)
    return prompt_ids, (prompt_ids != pad).long(), completion_ids, (completion_ids != pad).long(), None


@pytest.mark.parametrize("dialogue", ["append", "restated"])
def test_it_runs_and_every_parameter_moves(
    taught_folder: Path, prm: Path, rollouts: list[Episode], tmp_path: Path, dialogue: Format
) -> None:
    plan = PLAN.model_copy(
        update={"episodes_per_step": 2, "states_per_episode": 2, "learning_rate": 1e-3, "temperature": 2.0}
    )
    how: dict[str, Any] = {"dialogue": dialogue, "max_kl": 20.0, "job": Job(seed=0)}
    out = tmp_path / "out"
    report = improve_with_trl(taught_folder, prm, rollouts, WORDING, plan, out, **how)
    assert {gate.name: gate.passed for gate in report.gates} == dict.fromkeys(
        ("policy_finite", "kl_budget", "pairs_to_learn_from"), True
    )
    assert report.metrics["pairs"] == 8
    moved = zip(
        checkpoints.load_policy(out).named_parameters(),
        checkpoints.load_policy(taught_folder).parameters(),
        strict=True,
    )
    assert not [name for (name, new), old in moved if torch.equal(new, old)]


def test_what_trl_does_not_do_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tried.yaml"
    path.write_text("improvement: {kind: trl, labels: soft, rank_by: reply}")
    with pytest.raises(
        ExperimentError, match=r"rank_by: Input should be 'answer'[^\n]*\n  improvement\.labels: no such"
    ):
        read_experiment(path)
