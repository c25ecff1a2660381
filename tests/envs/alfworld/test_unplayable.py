"""Games that cannot be played are told before any is, by what is wrong with them."""

from pathlib import Path

import pytest
from agentprm_dagster.resources.tasks import TasksResource

from agentprm_dagster.commands.games import print_games
from agentprm_dagster.envs.alfworld.errors import GameFileError, OldWordingError, OtherGoalError
from agentprm_dagster.envs.alfworld.games import find_games
from agentprm_dagster.envs.alfworld.settings import Settings
from agentprm_dagster.envs.alfworld.unplayable import refuse_unplayable, sort_out
from bad_games import OLD, with_code
from kitchen import kitchen, write

HUMAN = {**kitchen(), "grammar": kitchen()["grammar"].replace("put a mug in countertop", "Bring a mug, please")}
REAL = Settings(source="alfworld", train=None, valid_seen=None)


def data(folder: Path, **contents: object) -> Path:
    """A data folder with a game of every content, in all splits."""
    for split in ("train", "valid_seen"):
        for name, content in contents.items():
            write(folder / "json_2.1.1" / split / name, content)
            (made,) = (folder / "json_2.1.1" / split / name).iterdir()
            made.rename(folder / "json_2.1.1" / split / made.name.replace("Mug", name))
    return folder


def test_they_are_sorted_by_what_is_wrong(tmp_path: Path) -> None:
    root = data(tmp_path, Good=kitchen(), Old=OLD, Older=OLD, Human=HUMAN, Evil=with_code("in a reply"))
    found = sort_out(find_games(root, "train"))
    assert {why: sorted(game.id.split("-")[1] for game, _ in faults) for why, faults in found.items()} == {
        "have the wording of alfworld before 0.4": ["Old", "Older"],
        "have goals in other sentences than ALFWorld's": ["Human"],
        "are not as ALFWorld's games are": ["Evil"],
    }
    kinds = {type(error) for faults in found.values() for _, error in faults}
    assert kinds == {OldWordingError, OtherGoalError, GameFileError}


def test_a_file_that_was_changed_is_looked_into_again(tmp_path: Path) -> None:
    (game,) = find_games(data(tmp_path, Good=kitchen()), "train")
    assert not sort_out([game])
    game.path.write_text("{}", encoding="utf-8")
    assert sort_out([game])


def test_the_first_and_how_many_are_named(tmp_path: Path) -> None:
    games = find_games(data(tmp_path, Good=kitchen(), Old=OLD, Older=OLD), "train")
    with pytest.raises(GameFileError, match=r"^2 of 3 games have the wording .* The first: .*-Old-.*games download"):
        refuse_unplayable(games, to_be_explained=False)


def test_a_stage_has_its_games_refused_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(data(tmp_path, Good=kitchen(), Old=OLD)))
    for ask in (lambda games: games.train(REAL, 0), lambda games: games.split(REAL, 0, "valid_seen", None)):
        with pytest.raises(GameFileError, match="1 of 2 games have the wording"):
            ask(TasksResource())


def test_goals_in_peoples_words_are_judged_on_and_not_learnt_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(data(tmp_path, Good=kitchen(), Human=HUMAN)))
    assert len(TasksResource().split(REAL, 0, "valid_seen", None)) == 2
    with pytest.raises(GameFileError, match=r"got 'Bring a mug, please'.*goal_desc_human_anns_prob 0"):
        TasksResource().train(REAL, 0)


def test_they_are_counted_apart_in_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_games(data(tmp_path, Good=kitchen(), Old=OLD, Human=HUMAN), as_json=True)
    printed = capsys.readouterr()
    assert printed.out.count('"id"') == 2 and "Good" in printed.out and "Old" not in printed.out
    assert "train: 1 games have the wording of alfworld before 0.4. The first:" in printed.err
    assert "valid_seen: 1 games have goals in other sentences" in printed.err
