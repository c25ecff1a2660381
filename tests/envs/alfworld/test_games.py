"""Which games are found, how a set of them is named, and how rooms are held out."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.envs.alfworld.errors import BrokenGameError, GamesNotFoundError
from agentprm_dagster.envs.alfworld.game_data import TASK_FILE
from agentprm_dagster.envs.alfworld.games import (
    GAME_FILE,
    GameRef,
    data_root,
    find_games,
    games_digest,
    hold_out_rooms,
)
from agentprm_dagster.envs.alfworld.tasks import TASK_TYPES, TaskType
from agentprm_dagster.envs.drawing import sample_tasks

MUG = "pick_and_place_simple-Mug-None-Desk-308"


def write_game(root: Path, folder: str, trial: str = "trial_T1", solvable: bool | None = True) -> Path:
    path = root / "json_2.1.1" / "train" / folder / trial / "game.tw-pddl"
    path.parent.mkdir(parents=True)
    path.with_name("traj_data.json").write_text("{}")
    mark = {} if solvable is None else {"solvable": solvable}
    path.write_text(json.dumps({"pddl_problem": "", **mark, "walkthrough": ["look"]}))
    return path


def ref(room: int, index: int = 0, task_type: TaskType = "pick_and_place_simple") -> GameRef:
    game_id = f"train/{task_type}-Mug-None-Desk-{room}/trial_T{index}"
    return GameRef("alfworld", game_id, task_type, Path(game_id) / "game.tw-pddl", "train", room)


def test_a_game_is_described_by_its_folders(tmp_path: Path) -> None:
    path = write_game(tmp_path, MUG)
    assert find_games(tmp_path, "train") == (
        GameRef("alfworld", f"train/{MUG}/trial_T1", "pick_and_place_simple", path, "train", 308),
    )


def test_games_are_sorted_by_id(tmp_path: Path) -> None:
    for folder in (MUG, "look_at_obj_in_light-CD-None-DeskLamp-301", "pick_two_obj_and_place-CD-None-Safe-323"):
        write_game(tmp_path, folder, "trial_T2")
        write_game(tmp_path, folder, "trial_T1")
    ids = [game.id for game in find_games(tmp_path, "train")]
    assert len(ids) == 6
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    "folder",
    [
        "pick_and_place_with_movable_recep-Spoon-Mug-Desk-308",
        "pick_heat_then_place_in_recep-PotatoSliced-None-Fridge-3",
        "pick_three_obj_and_place-Mug-None-Desk-308",
    ],
)
def test_tasks_the_stock_engine_leaves_out_are_left_out(tmp_path: Path, folder: str) -> None:
    write_game(tmp_path, MUG)
    write_game(tmp_path, folder)
    assert [game.id for game in find_games(tmp_path, "train")] == [f"train/{MUG}/trial_T1"]


@pytest.mark.parametrize("solvable", [False, None])
def test_games_not_marked_solvable_are_left_out(tmp_path: Path, solvable: bool | None) -> None:
    write_game(tmp_path, MUG)
    write_game(tmp_path, MUG, "trial_T2", solvable=solvable)
    write_game(tmp_path, MUG, "trial_T3").with_name("traj_data.json").unlink()
    assert len(find_games(tmp_path, "train")) == 1


def test_the_mark_is_found_where_it_is_not_in_the_tail(tmp_path: Path) -> None:
    path = write_game(tmp_path, MUG)
    path.write_text(json.dumps({"solvable": True, "pddl_problem": "x" * 10_000}))
    assert len(find_games(tmp_path, "train")) == 1


@pytest.mark.parametrize("content", ['{"pddl_problem": "(define', "[]", ""])
def test_a_broken_game_file_is_named(tmp_path: Path, content: str) -> None:
    path = write_game(tmp_path, MUG)
    path.write_text(content)
    with pytest.raises(BrokenGameError, match=str(path)):
        find_games(tmp_path, "train")


@pytest.mark.parametrize("room", ["", "-9999999", "-3o8", "-٣", "-²"])
def test_a_task_folder_without_a_room_is_named(room: str, tmp_path: Path) -> None:
    write_game(tmp_path, f"pick_and_place_simple-Mug-None-Desk{room}")
    with pytest.raises(BrokenGameError, match="ends with its room"):
        find_games(tmp_path, "train")


def test_missing_games_say_where_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    with pytest.raises(GamesNotFoundError, match=r"json_2\.1\.1.*games download.*games generate.*ALFWORLD_DATA"):
        data_root()
    with pytest.raises(GamesNotFoundError, match="valid_unseen"):
        find_games(tmp_path, "valid_unseen")


def test_data_root_is_where_alfworld_puts_its_games(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".cache" / "alfworld" / "json_2.1.1").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    assert data_root() == tmp_path / ".cache" / "alfworld"
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / ".cache" / "alfworld"))
    assert data_root() == tmp_path / ".cache" / "alfworld"


@pytest.mark.parametrize(
    "named",
    [
        *("{root}", "{root}/", "{root} ", ' "{root}" ', "'{root}'", "{root}/json_2.1.1", "{root}/json_2.1.1/train/"),
        *("$HOME/data", "${HOME}/data", "~/data", '"~/data/json_2.1.1"', "data", "./data/json_2.1.1"),
    ],
)
def test_what_alfworld_data_means_is_found(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"
    game = write_game(root, MUG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ALFWORLD_DATA", named.format(root=root) if "{root}" in named else named)
    assert data_root().absolute() == root
    assert [found.path.absolute() for found in find_games(data_root(), "train")] == [game]


def test_a_folder_of_that_name_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / '"data" '
    write_game(odd, MUG)
    monkeypatch.setenv("ALFWORLD_DATA", str(odd))
    assert data_root() == odd


def test_games_a_folder_below_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_game(tmp_path / "alfworld", MUG)
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    with pytest.raises(GamesNotFoundError, match=f"or set ALFWORLD_DATA to {tmp_path / 'alfworld'}$"):
        data_root()


def test_the_digest_names_ids_and_contents_but_not_order_or_place(tmp_path: Path) -> None:
    for root in (tmp_path / "a", tmp_path / "b"):
        write_game(root, MUG)
        write_game(root, MUG, "trial_T2")
    games, same = find_games(tmp_path / "a", "train"), find_games(tmp_path / "b", "train")
    assert games_digest(games) == games_digest(reversed(games)) == games_digest(same)
    assert games_digest(games) != games_digest(games[:1])
    for file in (GAME_FILE, TASK_FILE):
        changed = same[0].path.with_name(file)
        before = changed.read_text()
        changed.write_text("other")
        assert games_digest(games) != games_digest(same)
        changed.write_text(before)
    assert games_digest(games) == games_digest(same)


rooms = st.lists(
    st.sampled_from([*range(1, 8), *range(201, 206), *range(301, 304), *range(401, 403)]), min_size=8, max_size=40
)


@given(rooms, st.floats(0.05, 0.95), st.integers(0, 3))
def test_held_out_rooms_are_disjoint_and_of_every_kind(numbers: list[int], fraction: float, seed: int) -> None:
    games = [ref(room, i, TASK_TYPES[i % 6]) for i, room in enumerate([*numbers, 1, 2])]
    kept, held = hold_out_rooms(games, fraction, seed)
    assert sorted((*kept, *held), key=lambda game: game.id) == sorted(games, key=lambda game: game.id)
    kept_rooms, held_rooms = {game.room for game in kept}, {game.room for game in held}
    assert kept_rooms.isdisjoint(held_rooms)
    for hundred in {room // 100 for room in numbers}:
        of_kind = {room for room in numbers if room // 100 == hundred} | ({1, 2} if hundred == 0 else set())
        assert of_kind & kept_rooms
        assert (len(of_kind) > 1) == bool(of_kind & held_rooms)
    assert hold_out_rooms(games[::-1], fraction, seed) == (kept, held)


def test_a_rare_task_type_is_shown_on_both_sides() -> None:
    common = [ref(room) for room in range(1, 21)]
    rare = [ref(room, 1, "pick_cool_then_place_in_recep") for room in (3, 4)]
    for seed in range(5):
        kept, held = hold_out_rooms([*common, *rare], 0.2, seed)
        assert {game.kind for game in kept} == {game.kind for game in held}


@pytest.mark.parametrize(("games", "fraction", "message"), [([ref(1)], 0.5, "two rooms"), ([ref(1)], 1.0, "between")])
def test_what_cannot_be_held_out_is_said(games: list[GameRef], fraction: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hold_out_rooms(games, fraction, seed=0)


def test_samples_depend_on_the_seed_alone() -> None:
    games = [ref(room, i) for room in range(1, 5) for i in range(5)]
    sample = sample_tasks(games, 7, seed=3)
    assert len(set(sample)) == 7
    assert sample == sample_tasks(games[::-1], 7, seed=3)
    assert sample != sample_tasks(games, 7, seed=4)
    with pytest.raises(ValueError, match="at least 21 tasks"):
        sample_tasks(games, 21, seed=0)


def test_real_games_are_the_ones_the_stock_engine_counts() -> None:
    root = Path(os.environ.get("ALFWORLD_DATA") or "~/.cache/alfworld").expanduser()
    if not (root / "json_2.1.1" / "valid_seen").is_dir() or (root / "generated.json").exists():
        pytest.skip(f"no real ALFWorld games in {root}")
    games = find_games(root, "valid_seen")
    assert len(games) == 140
    assert {game.kind for game in games} == set(TASK_TYPES)
