"""A language model as a player, against real servers: what is kept, what is asked again, what ends an episode."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from agentprm_dagster.resources.llm import LlmPlayer

from agentprm_dagster.config import Llm
from agentprm_dagster.engine.served.budget import BudgetExceeded
from agentprm_dagster.engine.served.served_model import LlmError, ServedModel
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.episodes.tables import read_episodes, write_episodes
from agentprm_dagster.episodes.usage import Asked
from agentprm_dagster.rollouts.collect import whole_episodes
from chat_servers import KEY, LOOK, Fault, Proxy, Rule, Sent, completion, proxy_before

SETTINGS = Llm(concurrency=1, retries=0)
STEPS = 3


def refusal(words: str = "maximum context length", status: int = 400) -> Sent:
    return Sent(json.dumps({"error": {"message": words}}).encode(), status)


def play(
    server: Proxy, games: Sequence[PlayableGame], journal: Path, settings: Llm = SETTINGS
) -> tuple[list[Episode], Asked, dict[str, float]]:
    """Every game once, and the numbers of it."""
    player = LlmPlayer(None, WORDING, ServedModel("it", server.url, KEY), settings, journal)  # type: ignore[arg-type]
    episodes, asked = player.play(whole_episodes(games, 1), max_steps=STEPS, monitor=SilentMonitor())
    return episodes, asked, player.numbers(episodes, asked)


def records(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_bytes().splitlines()]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.mark.parametrize(
    "odd",
    [
        completion(LOOK, usage=(100, None)),
        completion(LOOK, usage={}),
        completion(LOOK, usage=("100", "10")),
        completion(7),
        completion("\ud83d"),
        b'{"choices": [{"message": null}]}',
        b'{"choices": []}',
        b"<html>",
    ],
)
def test_an_odd_answer_is_not_kept_and_the_same_command_goes_on(
    odd: Fault, household_games: list[PlayableGame], journal: Path
) -> None:
    with proxy_before(lambda question: completion(LOOK)) as server:
        server.faults.extend([None, odd])
        with pytest.raises(LlmError, match=r"answers are kept in .*; the same command goes on from them"):
            play(server, household_games[:2], journal)
        assert len(records(journal)) == len(server.questions) - 1
        _, _, numbers = play(server, household_games[:2], journal)
        assert (numbers["decisions"], numbers["parse_failures"]) == (2 * STEPS, 0)
        assert len(server.questions) == 2 * STEPS + 1, "each was answered once"


def test_a_journal_with_odd_lines_is_read_and_those_are_asked_again(
    household_games: list[PlayableGame], journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with proxy_before(lambda question: completion(LOOK)) as server:
        before, _, _ = play(server, household_games[:2], journal)
        lines = journal.read_bytes().splitlines()
        lines[1] = json.dumps({**json.loads(lines[1]), "tokens_drawn": None}).encode()
        lines[3] = json.dumps({**json.loads(lines[3]), "text": [{"type": "text", "text": LOOK}]}).encode()
        lines[4] = lines[4][:-9]
        journal.write_bytes(b"\n".join(lines) + b"\n")
        again, _, _ = play(server, household_games[:2], journal)
        assert again == before
        assert len(server.questions) == 2 * STEPS + 3
        assert journal.read_bytes().splitlines()[: len(lines)] == lines, "nothing is lost"
        spent = 110 * (2 * STEPS + 1)
        with pytest.raises(BudgetExceeded, match=f"{spent} of "):
            play(server, household_games[2:3], journal, SETTINGS.model_copy(update={"budget_tokens": spent}))
    warned = [words.split(":")[0] for words in caplog.messages]
    assert warned[:3] == [f"{journal}, line {number}" for number in (2, 4, 5)]


def test_a_prompt_that_is_refused_for_good_ends_its_episode_and_is_not_asked_again(
    household_games: list[PlayableGame], journal: Path, tmp_path: Path
) -> None:
    def long_prompts_refused(question: dict[str, Any]) -> Fault:
        return refusal() if question["messages"][0]["content"].count('"action"') >= 2 else completion(LOOK)

    with proxy_before(long_prompts_refused) as server:
        first = play(server, household_games, journal)
        episodes, asked, numbers = first
        assert len(server.questions) == STEPS * len(episodes) == len(records(journal))
        assert {len(episode.turns) for episode in episodes} == {STEPS - 1}
        assert not any(episode.won for episode in episodes)
        assert numbers["refused_episodes"] == len(episodes) == len(asked.refusals)
        assert all("answered HTTP 400" in words and "maximum context length" in words for words in asked.refusals)
        second = play(server, household_games, journal)
        assert (second[0], second[1].refusals) == (episodes, asked.refusals)
        assert len(server.questions) == STEPS * len(episodes)
    write_episodes(episodes, tmp_path)
    assert read_episodes(tmp_path) == episodes


@pytest.mark.parametrize("status", [400, 413, 422])
def test_one_games_first_prompt_may_be_refused(
    household_games: list[PlayableGame], journal: Path, tmp_path: Path, status: int
) -> None:
    task = household_games[0].environment().reset().text.splitlines()[-1].split(": ")[-1]

    def filtered(question: dict[str, Any]) -> Fault:
        asked_for_it = task in question["messages"][0]["content"]
        return refusal("content_filter", status) if asked_for_it else completion(LOOK)

    with proxy_before(filtered) as server:
        episodes, asked, numbers = play(server, household_games[:2], journal)
    assert sorted(len(episode.turns) for episode in episodes) == [0, STEPS]
    assert (len(asked.refusals), numbers["decisions"]) == (1, STEPS)
    write_episodes(episodes, tmp_path)
    assert read_episodes(tmp_path) == episodes


def test_a_server_that_refuses_everything_is_an_error_and_kept_nowhere(
    household_games: list[PlayableGame], journal: Path
) -> None:
    rules: list[Rule] = [lambda question: refusal("no such model"), lambda question: completion(LOOK)]
    with proxy_before(lambda question: rules[0](question)) as server:
        with pytest.raises(LlmError, match=r"the first prompt of 3 of 3 episodes was refused.*HTTP 400.*no such model"):
            play(server, household_games[:3], journal)
        assert records(journal) == []
        del rules[0]
        episodes, _, _ = play(server, household_games[:3], journal)
    assert {len(episode.turns) for episode in episodes} == {STEPS}


def test_answers_that_are_cut_empty_or_filtered_are_counted(household_games: list[PlayableGame], journal: Path) -> None:
    answers = {
        0: completion(None, "length", reasoning_content="Hm."),
        1: completion("REASON: I think that", "length"),
        2: completion("", "content_filter"),
    }
    with proxy_before(lambda question: answers[question["messages"][0]["content"].count('"action"')]) as server:
        _, _, numbers = play(server, household_games[:2], journal)
        assert play(server, household_games[:2], journal)[1].cut_answers == 4, "known from the journal as well"
    counts = {name: numbers[name] for name in ("cut_answers", "empty_answers", "filtered_answers")}
    assert counts == {"cut_answers": 4, "empty_answers": 4, "filtered_answers": 2}
    assert numbers["parse_failures"] == 1.0


def test_invalid_answers_count_towards_the_budget(household_games: list[PlayableGame], journal: Path) -> None:
    with proxy_before(lambda question: completion("\ud83d", usage=(100, 10_000))) as server:
        settings = SETTINGS.model_copy(update={"retries": 5, "budget_tokens": 20_000})
        with pytest.raises(BudgetExceeded, match=r"20200 of llm\.budget_tokens 20000 are spent"):
            play(server, household_games[:1], journal, settings)
    assert len(server.questions) == 2
    assert records(journal) == []


def test_an_answer_that_repeats_the_key_is_kept_without_it(household_games: list[PlayableGame], journal: Path) -> None:
    with proxy_before(lambda question: completion(f"REASON: {KEY}\nACTION: look")) as server:
        episodes, _, _ = play(server, household_games[:1], journal)
    assert KEY.encode() not in journal.read_bytes()
    assert episodes[0].turns[0].reason == "***"
