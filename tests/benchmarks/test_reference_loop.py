"""What the benchmarks compare does the same work: ours and its baseline give the same answers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from agentprm_dagster.agents.policy import Policy
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.base import Sampled
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.engine import EmbeddedEngine
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.rollouts.collect import whole_episodes
from agentprm_dagster.rollouts.rollout import play
from agentprm_dagster.training.candidates import Candidate, CandidateTrees
from benchmarks.json_targets import targets_of_json, write_json
from benchmarks.reference_loop import ReferenceLoop

STEPS, NEW_TOKENS = 12, 16


def policy(folder: Path, temperature: float) -> Policy:
    return Policy(
        EmbeddedEngine(checkpoints.load_policy(folder), conversations=5),
        Chat(checkpoints.load_tokenizer(folder), WORDING),
        dialogue="append",
        slots=5,
        temperature=temperature,
        max_new_tokens=NEW_TOKENS,
        seed=0,
    )


def played(agent: Policy, games: list[PlayableGame]) -> list[Episode]:
    starts = whole_episodes(games, 1)
    return play(agent, starts, max_steps=STEPS, total=len(starts), monitor=SilentMonitor())


def test_greedy_episodes_are_those_of_the_reference_loop(
    taught_folder: Path, household_games: list[PlayableGame]
) -> None:
    model, tokenizer = checkpoints.load_policy(taught_folder), checkpoints.load_tokenizer(taught_folder)
    reference = ReferenceLoop(model, tokenizer, STEPS, NEW_TOKENS, temperature=0.0)
    ours = played(policy(taught_folder, 0.0), household_games)
    same = [
        (without_tokens(mine), theirs)
        for mine, theirs in zip(ours, reference.play(household_games), strict=True)
        if all(reads_back(turn, tokenizer) for turn in mine.turns)
    ]
    assert len(same) > len(ours) / 2
    for mine, theirs in same:
        assert mine == theirs


def reads_back(turn: Turn, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether an answer's text is read as the tokens that it was drawn as; that of a garbled one may not be."""
    read = tokenizer(turn.response, add_special_tokens=False)["input_ids"]
    return list(turn.tokens) in (read, [*read, tokenizer.eos_token_id])


def without_tokens(episode: Episode) -> Episode:
    return replace(episode, turns=tuple(replace(turn, tokens=()) for turn in episode.turns))


def test_the_reference_loop_takes_the_answer_that_the_prm_likes_best(
    taught_folder: Path, household_games: list[PlayableGame]
) -> None:
    prm = checkpoints.prm_from_policy(taught_folder, seed=0).eval()
    loop = ReferenceLoop(
        checkpoints.load_policy(taught_folder), checkpoints.load_tokenizer(taught_folder), 2, NEW_TOKENS, 1.0, prm, 3
    )
    torch.manual_seed(0)
    prompts = [loop._render(game.environment().reset().text, []) for game in household_games[:2]]
    tried = loop._generate([prompt for prompt in prompts for _ in range(3)])
    values = [loop._values([prompts[i // 3] + answer + "<|end|>"]).item() for i, answer in enumerate(tried)]
    torch.manual_seed(0)
    best = [max(range(3), key=values[3 * i : 3 * i + 3].__getitem__) for i in range(2)]
    assert loop._answer(prompts) == [tried[3 * i + best[i]] for i in range(2)]


def test_what_the_engine_drew_is_as_likely_to_the_trainer(
    taught_folder: Path, household_games: list[PlayableGame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stale weights, or a cache that went wrong anywhere along an episode, would show here."""
    agent, games = policy(taught_folder, 0.8), household_games[:5]  # as many as slots, so that each keeps its own
    drawn: dict[str, list[tuple[Candidate, float]]] = {game.id: [] for game in games}
    draw = agent._draw

    def watched(slots: list[int], candidates: int, temperature: float) -> Sampled:
        sampled = draw(slots, candidates, temperature)
        log_ps = sampled.log_probabilities[:, 0].tolist()
        for slot, (ids,), (ended,), log_p in zip(slots, sampled.tokens, sampled.finished, log_ps, strict=True):
            answer = Candidate((0, 0), (*ids, agent.chat.end), draws=1, cut=not ended)
            drawn[games[slot].id].append((answer, log_p))
        return sampled

    monkeypatch.setattr(agent, "_draw", watched)
    trainer, compared = checkpoints.load_policy(taught_folder).eval(), 0
    for episode in played(agent, games):
        for turn, (answer, log_p) in enumerate(drawn[episode.game]):
            assert episode.turns[turn].tokens == answer.ids[:-1]
            (prefix,) = agent.chat.conversations(episode, "append", [turn])
            with torch.no_grad():
                read = CandidateTrees([prefix], [answer]).log_probabilities(trainer)
            assert float(read) == pytest.approx(log_p, abs=2e-4)
            compared += 1
    assert compared > 20


def test_targets_are_those_of_a_dictionary(rollouts: list[Episode], tmp_path: Path) -> None:
    from agentprm_dagster.algorithm.targets import mc_value_targets

    whole = [episode for episode in rollouts if episode.parent is None]
    write_json(whole, tmp_path / "json")
    expected = targets_of_json(tmp_path / "json", 0.9)
    table = mc_value_targets(whole, gamma=0.9, held_out_games=0, seed=0)
    pairs = table.drop_duplicates(["state", "action"])
    assert len(pairs) == len(expected)
    assert sorted(pairs["q"]) == pytest.approx(sorted(expected.values()))
