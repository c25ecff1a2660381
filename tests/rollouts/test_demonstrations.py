"""Expert episodes, won and lost."""

import pytest

from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.base import ExpertGaveUp
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode, Observation
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.reports.demonstrations_report import demonstrations_report, transcript
from agentprm_dagster.rollouts.demonstrations import collect_demonstrations, demonstrate


def test_walkthroughs_win_and_replay(demonstrations: list[Episode], household_games: list[PlayableGame]) -> None:
    games = {game.id: game for game in household_games}
    for episode in demonstrations[:12]:
        environment = games[episode.game].environment()
        observation = environment.reset()
        assert (episode.won, episode.first_observation) == (True, observation.text)
        for turn in episode.turns:
            answer = parse_answer(turn.response)
            assert (answer.parsed, answer.action, answer.reason) == (True, turn.action, turn.reason)
            assert turn.admissible is (turn.action in observation.admissible_commands)
            observation = environment.step(turn.action)
            assert observation.text == turn.observation


def test_games_are_played_in_turn_and_more_than_once(household_games: list[PlayableGame]) -> None:
    episodes = collect_demonstrations(
        household_games[:2], KIND, expert="walkthrough", episodes=5, max_steps=30, seed=0, monitor=SilentMonitor()
    )
    one, two = (game.id for game in household_games[:2])
    assert [episode.episode_id for episode in episodes] == [f"{one}#0", f"{two}#0", f"{one}#1", f"{two}#1", f"{one}#2"]


def test_the_same_seed_gives_the_same_episodes(household_games: list[PlayableGame]) -> None:
    def play(seed: int) -> list[Episode]:
        return [
            demonstrate(game, KIND, episode_id=game.id, expert="handcoded", max_steps=30, seed=seed)
            for game in household_games[:4]
        ]

    assert play(1) == play(1)


def test_too_few_steps_lose(household_games: list[PlayableGame]) -> None:
    episode = demonstrate(household_games[0], KIND, episode_id="e", expert="walkthrough", max_steps=2, seed=0)
    assert (len(episode.turns), episode.won, episode.truncated) == (2, False, True)


def test_who_gives_up_has_lost(household_games: list[PlayableGame], monkeypatch: pytest.MonkeyPatch) -> None:
    class Tired:
        def __init__(self) -> None:
            self.left = 3

        def act(self, observation: Observation) -> str:
            if not self.left:
                raise ExpertGaveUp("enough")
            self.left -= 1
            return "look"

    game = household_games[0]
    monkeypatch.setattr(game, "expert", lambda kind, seed: Tired())
    episode = demonstrate(game, KIND, episode_id="e", expert="handcoded", max_steps=30, seed=0)
    assert ([turn.action for turn in episode.turns], episode.won) == (["look"] * 3, False)
    assert episode.truncated, "an expert who gives up ends no game"


def test_an_expert_that_is_not_there_is_refused(household_games: list[PlayableGame]) -> None:
    there = "expected an expert of alfworld, one of handcoded, handcoded_corrected, walkthrough, got 'oracle'"
    with pytest.raises(ValueError, match=there):
        demonstrate(household_games[0], KIND, episode_id="e", expert="oracle", max_steps=30, seed=0)


@pytest.mark.parametrize(("least", "passed"), [(0.5, True), (0.75, False)])
def test_the_gate_on_the_experts_success(demonstrations: list[Episode], least: float, passed: bool) -> None:
    won, lost = demonstrations[0], Episode("lost", "g", "pick_and_place_simple", "", (), reward=0.0)
    report = demonstrations_report([won, lost], min_success=least)
    assert report.metrics["success_rate"] == 0.5
    assert report.metrics["turns"] == len(won.turns), "only won episodes are learnt from"
    assert report.metrics["mean_actions_won"] == len(won.turns)
    assert report.gates[0].passed is passed
    assert "the expert won 1 of 2 games" in report.gates[0].message


def test_without_a_win_nothing_is_said_of_how_fast_it_was() -> None:
    report = demonstrations_report([Episode("e", "g", "pick_and_place_simple", "", (), reward=0.0)], min_success=0)
    assert "mean_actions_won" not in report.metrics
    assert "mean_actions_won" not in report.preview


def test_a_transcript_tells_all(demonstrations: list[Episode]) -> None:
    told = transcript(demonstrations[0])
    assert demonstrations[0].first_observation in told
    assert all(turn.response in told and turn.observation in told for turn in demonstrations[0].turns)
