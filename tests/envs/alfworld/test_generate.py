"""Generated games: reproducible, whole, winnable on the stock engine, and never of a training room when unseen."""

import errno
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.envs.alfworld import generate
from agentprm_dagster.envs.alfworld.errors import GamesCountError
from agentprm_dagster.envs.alfworld.games import find_games, games_digest
from agentprm_dagster.envs.alfworld.generate import generate_games
from agentprm_dagster.envs.alfworld.generate_rooms import furnish, game_names, kind_of
from agentprm_dagster.envs.alfworld.generate_rules import can_contain
from agentprm_dagster.envs.alfworld.generate_scenes import MAX_PLAN, TREATMENTS, Scene, draw_scene
from agentprm_dagster.envs.alfworld.generate_tables import (
    EXTENTS,
    FURNITURE,
    KINDS,
    PLACES,
    TASK_KINDS,
    Size,
    furniture,
)
from agentprm_dagster.envs.alfworld.tasks import SPLITS, TASK_TYPES, Split, TaskType
from agentprm_dagster.envs.generated import TasksConflictError

COUNTS: dict[Split, int] = {"train": 24, "valid_seen": 12, "valid_unseen": 12}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("games")
    generate_games(root, seed=7, counts=COUNTS, size="small")
    return root


def tree_hash(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(p.relative_to(folder)).encode() + p.read_bytes() for p in files)).hexdigest()


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    task_type: TaskType = draw(st.sampled_from(TASK_TYPES))
    kind = draw(st.sampled_from(TASK_KINDS[task_type]))
    number = draw(st.integers(1, 99)) + {"kitchen": 0, "living": 200, "bedroom": 300, "bathroom": 400}[kind]
    size: Size = draw(st.sampled_from(get_args(Size)))
    return draw_scene(furnish(number, size, seed=0), task_type, size, random.Random(draw(st.integers(0, 10**6))))


def test_every_split_has_its_games_with_task_types_in_turn(root: Path) -> None:
    for split in SPLITS:
        games = find_games(root, split)
        assert Counter(game.kind for game in games) == dict.fromkeys(TASK_TYPES, COUNTS[split] // 6)


def test_seen_rooms_are_rooms_of_train_and_unseen_ones_are_not(root: Path) -> None:
    rooms = {split: {game.room for game in find_games(root, split)} for split in SPLITS}
    assert rooms["valid_seen"] <= rooms["train"]
    assert rooms["valid_unseen"].isdisjoint(rooms["train"])


def test_the_same_seed_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    generate_games(tmp_path / "same", seed=7, counts=COUNTS, size="small")
    generate_games(tmp_path / "other", seed=8, counts=COUNTS, size="small")
    assert tree_hash(tmp_path / "same") == tree_hash(root)
    assert games_digest(find_games(tmp_path / "other", "train")) != games_digest(find_games(root, "train"))


def test_the_global_random_state_is_left_alone(tmp_path: Path) -> None:
    random.seed(1)
    expected = random.Random(1).random()
    generate_games(tmp_path, seed=7, counts={"train": 6}, size="small")
    assert random.random() == expected


def test_generating_again_is_free_and_other_parameters_are_refused(root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.name != ".generate.lock"}
    generate_games(root, seed=7, counts=COUNTS, size="small")
    assert before == {path: path.stat().st_mtime_ns for path in before}
    with pytest.raises(TasksConflictError, match=r'asked for .*"seed": 8'):
        generate_games(root, seed=8, counts=COUNTS, size="small")


def test_where_no_locks_are_kept_games_are_made_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    generate_games(tmp_path, seed=7, counts={"train": 6}, size="small")
    assert len(find_games(tmp_path, "train")) == 6


def test_other_peoples_games_are_never_mixed_with(tmp_path: Path) -> None:
    (tmp_path / "json_2.1.1").mkdir()
    with pytest.raises(TasksConflictError, match="not generated"):
        generate_games(tmp_path, seed=7, counts={"train": 6}, size="small")


def test_a_killed_generation_leaves_no_games_and_can_be_repeated(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(generate, "_write_game", _killed_at_the_fifth(generate._write_game))
        with pytest.raises(KeyboardInterrupt):
            generate_games(tmp_path, seed=7, counts=COUNTS, size="small")
    assert not (tmp_path / "json_2.1.1").exists()
    generate_games(tmp_path, seed=7, counts=COUNTS, size="small")
    assert tree_hash(tmp_path) == tree_hash(root)


def _killed_at_the_fifth(write: Callable[..., None]) -> Callable[..., None]:
    calls: Counter[str] = Counter()

    def killed(*args: object) -> None:
        calls["write"] += 1
        if calls["write"] == 5:
            raise KeyboardInterrupt
        write(*args)

    return killed


def test_seen_rooms_need_train_games(tmp_path: Path) -> None:
    with pytest.raises(GamesCountError, match="at least 6 train games"):
        generate_games(tmp_path, seed=0, counts={"valid_seen": 2, "train": 5}, size="small")


def test_no_game_is_nothing_to_generate(tmp_path: Path) -> None:
    with pytest.raises(GamesCountError, match=r"at least one game to generate, got \{'train': 0\}"):
        generate_games(tmp_path / "none", seed=0, counts={"train": 0}, size="small")
    assert not (tmp_path / "none").exists()


def test_files_are_those_of_alfworld(root: Path) -> None:
    game = find_games(root, "train")[0]
    assert {path.name for path in game.path.parent.iterdir()} == {
        "game.tw-pddl",
        "initial_state.pddl",
        "traj_data.json",
    }
    data = json.loads(game.path.read_text())
    assert list(data) == ["pddl_domain", "grammar", "pddl_problem", "solvable", "walkthrough"]
    assert data["pddl_problem"] == game.path.with_name("initial_state.pddl").read_text()
    assert re.search(r'"rhs": "Your task is to: [a-z ]+\."', data["grammar"])
    trajectory = json.loads(game.path.with_name("traj_data.json").read_text())
    params = trajectory["pddl_params"]
    goal = params["parent_target"] or params["toggle_target"]
    folder = f"{trajectory['task_type']}-{params['object_target']}-None-{goal}-{trajectory['scene']['scene_num']}"
    assert game.path.parts[-3:-1] == (folder, trajectory["task_id"])


def test_numbers_run_against_the_alphabet() -> None:
    ids = [("Mug", "Mug_bar_1"), ("Cup", "Cup_bar_9"), ("Mug", "Mug_bar_2")]
    assert game_names(ids) == {"Mug_bar_1": "mug 2", "Mug_bar_2": "mug 1", "Cup_bar_9": "cup 1"}


@pytest.mark.parametrize("size", get_args(Size))
@pytest.mark.parametrize("number", [1, 99, 201, 250, 301, 399, 401, 460])
def test_rooms_have_what_their_kind_and_size_asks_for(number: int, size: Size) -> None:
    room = furnish(number, size, seed=3)
    assert room == furnish(number, size, seed=3)
    least, most = EXTENTS[size][kind_of(number)].receptacles
    assert least <= len(room.receptacles) <= most
    for type_, piece in furniture(room.kind, size).items():
        assert piece.least <= len(room.of_type(type_)) <= piece.most
    assert room.start not in {receptacle.location for receptacle in room.receptacles}
    assert len({receptacle.id for receptacle in room.receptacles}) == len(room.receptacles)


def test_every_game_of_varied_rooms_has_one_of_its_own() -> None:
    rooms = [furnish(301, "varied", 0, f"train {index}") for index in range(200)]
    assert len({room.receptacles for room in rooms}) == len(rooms)
    assert {len(room.of_type("Bed")) for room in rooms} == {1, 2, 3}
    assert {len(room.of_type("Desk")) for room in rooms} == {1, 2, 3}
    kitchens = [furnish(1, "varied", 0, f"train {index}") for index in range(400)]
    assert {len(room.of_type("Fridge")) for room in kitchens} == {1}
    longest = {name: max(len(room.of_type(name)) for room in kitchens) for name in ("Cabinet", "Drawer", "Shelf")}
    assert longest["Cabinet"] >= 27, "as the longest real rows"
    assert longest["Drawer"] >= 24
    assert longest["Shelf"] >= 14
    assert furnish(301, "full", 0, "train 0") == furnish(301, "full", 0, "train 1")


def test_varied_rooms_are_not_seen_twice(tmp_path: Path) -> None:
    with pytest.raises(GamesCountError, match="expected no game of valid_seen, got 6"):
        generate_games(tmp_path, seed=0, counts=COUNTS | {"valid_seen": 6}, size="varied")


@given(scenes())
def test_scenes_make_sense(scene: Scene) -> None:
    least, most = EXTENTS["small"]["kitchen"].objects[0], EXTENTS["full"]["kitchen"].objects[1]
    assert least <= len(scene.items) <= most
    assert 3 <= len(scene.walkthrough) <= MAX_PLAN
    targets = [item for item in scene.items if item.type == scene.target]
    assert len(targets) >= (2 if scene.task_type == "pick_two_obj_and_place" else 1)
    assert all(item.where.type != scene.goal for item in targets)
    assert all(item.where in scene.room.receptacles for item in scene.items)
    assert all(item.where.type in PLACES[scene.room.kind][item.type] for item in scene.items)
    if scene.goal:
        assert scene.target in can_contain(scene.goal)
    if scene.task_type == "pick_cool_then_place_in_recep":
        assert all(item.where.type != "Fridge" for item in targets)


@given(scenes())
def test_a_plan_takes_only_what_it_has_reached(scene: Scene) -> None:
    opened = {place.name for place in scene.room.receptacles if not place.openable}
    spots = {place.name: place.location for place in scene.room.receptacles}
    lies = {item.name: item.where.name for item in scene.items}
    spot = scene.room.start
    for command in scene.walkthrough:
        verb, _, rest = command.partition(" ")
        if verb == "go":
            spot = spots[rest.removeprefix("to ")]
        elif verb == "open":
            assert spot == spots[rest]
            opened.add(rest)
        elif verb == "use":
            assert spot == spots[lies[rest]]
        else:
            thing, place = re.split(" from | to | with ", rest)
            assert spot == spots[place]
            assert verb in ("heat", "cool", "clean") or place in opened
            assert verb != "take" or lies.pop(thing) == place


def test_tables_agree_with_each_other() -> None:
    for kind in KINDS:
        for thing, places in PLACES[kind].items():
            assert places.keys() <= FURNITURE[kind].keys(), thing
    fixed = {kind: {type_ for type_, piece in FURNITURE[kind].items() if piece.least} for kind in KINDS}
    for task_type, treatment in TREATMENTS.items():
        assert all(treatment.tool in fixed[kind] for kind in TASK_KINDS[task_type])
    assert all(fixed[kind] & PLACES[kind]["DeskLamp"].keys() for kind in TASK_KINDS["look_at_obj_in_light"])


def test_the_stock_engine_collects_the_games_and_wins_them_by_the_walkthrough(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from alfworld.agents.environment.alfred_tw_env import AlfredTWEnv

    config = {
        "dataset": {"eval_ood_data_path": str(root / "json_2.1.1" / "valid_unseen"), "num_eval_games": -1},
        "env": {
            "task_types": [1, 2, 3, 4, 5, 6],
            "goal_desc_human_anns_prob": 0,
            "domain_randomization": False,
            "expert_type": "handcoded",
        },
        "general": {"training_method": "dqn"},
        "rl": {"training": {"max_nb_steps_per_episode": 50}},
    }
    stock = AlfredTWEnv(config, train_eval="eval_out_of_distribution")
    games = find_games(root, "valid_unseen")
    assert sorted(stock.game_files) == [str(game.path) for game in games]
    stock.game_files = [str(game.path) for game in games[::2]]
    env = stock.init_env(batch_size=1)
    for _ in stock.game_files:
        _, infos = env.reset()
        won = False
        for command in json.loads(Path(infos["extra.gamefile"][0]).read_text())["walkthrough"]:
            assert not won
            assert command in infos["admissible_commands"][0]
            _, _, _, infos = env.step([command])
            won = infos["won"][0]
        assert won
    env.close()


def test_of_cabinets_and_drawers_in_varied_rooms_some_cannot_be_closed() -> None:
    kitchens = [furnish(1, "varied", 0, str(game)) for game in range(400)]
    for type_, others in (("Cabinet", "Fridge"), ("Drawer", "Microwave")):
        doors = [[each.openable for each in room.of_type(type_)] for room in kitchens if room.of_type(type_)]
        assert 0.05 < sum(not door for each in doors for door in each) / sum(map(len, doors)) < 0.25
        assert 0.2 < sum(not all(each) for each in doors) / len(doors) < 0.45
        assert all(each.openable for room in kitchens for each in room.of_type(others))
    assert all(each.openable for each in furnish(1, "medium", 0).of_type("Cabinet"))


def test_varied_rooms_now_and_then_hold_four_or_five_of_a_kind() -> None:
    counts: Counter[int] = Counter()
    for game in range(300):
        scene = draw_scene(
            furnish(1, "varied", 0, str(game)), "pick_and_place_simple", "varied", random.Random(f"scene {game}")
        )
        counts.update(Counter(item.type for item in scene.items).values())
    assert max(counts) == 5
    assert 0.01 < (counts[4] + counts[5]) / sum(counts.values()) < 0.06
