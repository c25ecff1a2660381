"""A card that was changed is found out, whatever was changed and whatever was recomputed with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.scoring.card import Card, read_card
from agentprm_dagster.scoring.checking import check, replay_differences
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.panel import Panel
from agentprm_dagster.scoring.records import PlayedGame, Run, played_game
from agentprm_dagster.scoring.results import results


def found(card: Card) -> dict[str, str]:
    """By check, what differs."""
    return {each.name: " ".join(each.differences) for each in check(card) if each.differences}


def again(card: Card, panel: Panel, runs: tuple[Run, ...]) -> Card:
    """A card on another panel with other games, all numbers and digests recomputed as a forger would."""
    changed = {"panel": panel, "panel_digest": panel.digest, "runs": runs, "results": results(panel, runs)}
    return card.model_copy(update=changed)


def with_game(card: Card, **changes: Any) -> Card:
    """The first game of the first run changed, the numbers recomputed."""
    first, *others = card.runs
    game, *rest = first.games["valid_seen"]
    games = (game.model_copy(update=changes), *rest)
    run = first.model_copy(update={"games": {"valid_seen": games}})
    return again(card, card.panel, (run, *others))


def test_cards_are_as_they_say(walkthrough: Card, handcoded: Card, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(handcoded.to_json())
    assert read_card(tmp_path / "card.json") == handcoded
    for card in (walkthrough, handcoded):
        assert found(card) == {}
        assert [each.not_done for each in check(card)] == [()] * 5
    assert walkthrough.results[-1].micro.rate == 1


def test_a_rate_that_the_records_do_not_give(handcoded: Card) -> None:
    row = handcoded.results[0]
    better = row.model_copy(update={"micro": row.micro.model_copy(update={"rate": 0.99})})
    forged = handcoded.model_copy(update={"results": (better, *handcoded.results[1:])})
    assert (
        "valid_seen, 6 actions: micro: rate is written down as 0.99, and the records give" in found(forged)["results"]
    )


def test_a_row_left_out_or_twice(handcoded: Card) -> None:
    fewer = handcoded.model_copy(update={"results": handcoded.results[1:]})
    assert "valid_seen, 6 actions is written down as None" in found(fewer)["results"]
    twice = handcoded.model_copy(update={"results": (*handcoded.results, handcoded.results[0])})
    assert "a row is there twice" in found(twice)["results"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"won": False}, "it is written down as lost, and its commands have it won"),
        ({"commands": ("look",) * 20, "known": ()}, "it is written down as won, and its commands have it lost"),
        ({"commands": ("look",), "won": False, "known": ()}, "it has 1 commands of 20, and the game was not over"),
        ({"invalid": (0,)}, "the turns not accepted are written down as [0], and were []"),
        ({"known": (0, 1)}, "the turns with nothing new are written down as [0, 1], and were"),
    ],
)
def test_a_game_that_does_not_replay(walkthrough: Card, changes: dict[str, Any], words: str) -> None:
    said = found(with_game(walkthrough, **changes))
    assert said.keys() == {"replay"}
    assert words in said["replay"]


def test_commands_after_the_end(walkthrough: Card) -> None:
    commands = walkthrough.runs[0].games["valid_seen"][0].commands
    said = found(with_game(walkthrough, commands=(*commands, "look")))
    assert f"commands, and the game was over after {len(commands)}" in said["replay"]


def test_a_dropped_game(walkthrough: Card) -> None:
    (run,) = walkthrough.runs
    fewer = run.model_copy(update={"games": {"valid_seen": run.games["valid_seen"][1:]}})
    said = found(walkthrough.model_copy(update={"runs": (fewer,)}))["records"]
    assert "was played 0 times, and is listed 1 times" in said


def test_a_game_twice(walkthrough: Card) -> None:
    (run,) = walkthrough.runs
    first, *rest = run.games["valid_seen"]
    more = run.model_copy(update={"games": {"valid_seen": (first, first, *rest[1:])}})
    said = found(walkthrough.model_copy(update={"runs": (more,)}))["records"]
    assert f"{first.id} was played 2 times" in said


def test_a_game_dropped_from_the_panel_too_and_everything_recomputed(walkthrough: Card) -> None:
    (run,) = walkthrough.runs
    panel = walkthrough.panel
    fewer = panel.model_copy(update={"splits": {"valid_seen": panel.splits["valid_seen"][1:]}})
    runs = (run.model_copy(update={"games": {"valid_seen": run.games["valid_seen"][1:]}}),)
    said = found(again(walkthrough, fewer, runs))
    assert said.keys() == {"games"}
    assert "1 of 5 games are on this machine, and left out of the panel" in said["games"]


def test_a_panel_with_another_digest_of_a_file(walkthrough: Card) -> None:
    panel = walkthrough.panel
    first, *rest = panel.splits["valid_seen"]
    other = panel.model_copy(update={"splits": {"valid_seen": (first.model_copy(update={"digest": "0" * 64}), *rest)}})
    said = found(again(walkthrough, other, walkthrough.runs))
    assert "1 of 6 games are of another kind or with other files here" in said["games"]
    assert "panel is written down" in found(walkthrough.model_copy(update={"panel": other}))["digests"]


def test_a_prompt_that_was_changed(walkthrough: Card) -> None:
    asked = walkthrough.protocol.model_copy(update={"temperature": 1.0})
    assert "the digest of the protocol" in found(walkthrough.model_copy(update={"protocol": asked}))["digests"]


def test_a_run_that_was_left_out(handcoded: Card) -> None:
    fewer = again(handcoded, handcoded.panel, handcoded.runs[1:])
    assert "expected runs of agents and seeds [(0, 0), (0, 1)], got [(0, 1)]" in found(fewer)["records"]


def test_settings_of_no_environment_are_said_and_not_acted_on(walkthrough: Card) -> None:
    def with_settings(**changes: Any) -> Card:
        source = walkthrough.panel.source
        changed = source.model_copy(update={"settings": {**source.settings, **changes}})
        return walkthrough.model_copy(update={"panel": walkthrough.panel.model_copy(update={"source": changed})})

    assert "the source's games are not those of alfworld" in found(with_settings(kind="textworld"))["games"]
    assert "settings are none of alfworld" in found(with_settings(size="huge"))["games"]


def test_games_that_are_not_here_leave_the_check_undone(
    walkthrough: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = {**walkthrough.panel.source.settings, "source": "alfworld", "valid_seen": None}
    source = walkthrough.panel.source.model_copy(update={"settings": real})
    card = walkthrough.model_copy(update={"panel": walkthrough.panel.model_copy(update={"source": source})})
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    undone = {each.name: each.not_done for each in check(card) if each.not_done}
    assert undone.keys() == {"games", "replay"}
    assert undone["replay"] == ("6 plays of games that are not on this machine",)
    assert found(card) == {}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda text: text[:-20],
        lambda text: text.replace('"seed": 0', '"seed": -1'),
        lambda text: text.replace('"won": true', '"won": 1'),
        lambda text: "[]",
    ],
)
def test_what_is_no_card_is_refused(walkthrough: Card, tmp_path: Path, spoil: Callable[[str], str]) -> None:
    path = tmp_path / "card.json"
    path.write_text(spoil(walkthrough.to_json()))
    with pytest.raises(ScoreError, match="expected a score card, version 1"):
        read_card(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.data())
def test_whatever_is_played_replays_as_it_was_kept(household_games: list[PlayableGame], data: st.DataObject) -> None:
    game = data.draw(st.sampled_from(household_games))
    environment = game.environment()
    observation = first = environment.reset()
    turns: list[Turn] = []
    while not observation.done and len(turns) < 12:
        command = data.draw(st.sampled_from([*observation.commands, "nonsense", ""]))
        before, observation = observation, environment.step(command)
        turns.append(Turn("", command, observation.text, command, admissible=before.admits(command)))
    reward = observation.reward
    episode = Episode("e", game.id, game.kind, first.text, tuple(turns), reward, truncated=not observation.done)
    kept = played_game(episode, 12)
    assert list(replay_differences(game, kept, 12)) == []
    assert PlayedGame.model_validate_json(kept.model_dump_json()) == kept


def test_a_card_has_no_disk_filled(walkthrough: Card) -> None:
    source = walkthrough.panel.source
    many = source.model_copy(update={"settings": {**source.settings, "train": 90_000}})
    card = walkthrough.model_copy(update={"panel": walkthrough.panel.model_copy(update={"source": many})})
    (undone,) = [each.not_done for each in check(card) if each.name == "games"]
    assert "ask for 90012 games to be generated, more than 20000" in undone[0]
