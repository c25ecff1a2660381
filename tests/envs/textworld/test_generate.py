"""Games are made whole or not at all, the same for the same settings, and no two of them are alike."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from agentprm_dagster.envs.base import TaskFileError, TaskRef, TasksCountError, TasksNotFoundError
from agentprm_dagster.envs.generated import TasksConflictError
from agentprm_dagster.envs.textworld.games import Games, games_digest
from agentprm_dagster.envs.textworld.generate import GAMES_FOLDER, folder_name, generate_games
from agentprm_dagster.envs.textworld.plan import plans
from agentprm_dagster.envs.textworld.settings import Settings
from agentprm_dagster.workers import Worker, WorkerError

SEED = 7
TWO = Settings(games=("coin_collector",), train=1, valid_seen=1, valid_unseen=0)


def tree_hash(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(p.relative_to(folder)).encode() + p.read_bytes() for p in files)).hexdigest()


def test_kinds_take_turns_in_every_split(refs: Sequence[TaskRef], few: Settings) -> None:
    found = Counter((ref.id.split("/")[0], ref.kind) for ref in refs)
    assert found == {(split, kind): count // 3 for split, count in few.counts.items() for kind in few.games}


def test_a_killed_generation_is_gone_on_with_to_the_same_bytes(made: Path, few: Settings, tmp_path: Path) -> None:
    whole, root = made / folder_name(few, SEED), tmp_path / "killed"
    staging = root / f".{GAMES_FOLDER}.partial"
    with closing(Worker("agentprm_dagster.envs.textworld.worker", {"PYTHONHASHSEED": "0"})) as worker:
        worker.send((staging, [*plans(few, SEED)]))
        assert isinstance(worker.receive(), str)
    kept = {path: path.stat().st_mtime_ns for path in staging.rglob("*.zip")}
    assert kept
    generate_games(root, few, SEED)
    assert tree_hash(root / "games") == tree_hash(whole / "games")
    assert (root / "generated.json").read_bytes() == (whole / "generated.json").read_bytes()
    names = [path.relative_to(staging) for path in kept]
    assert [(root / "games" / name).stat().st_mtime_ns for name in names] == list(kept.values()), "not made anew"


def test_several_processes_may_ask_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from agentprm_dagster.envs.textworld.generate import generate_games; "
        "from agentprm_dagster.envs.textworld.settings import Settings; "
        f"generate_games(Path(sys.argv[1]), Settings.model_validate_json({TWO.model_dump_json()!r}, strict=False), 0)"
    )
    asking = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "games")]) for _ in range(2)]
    assert [process.wait() for process in asking] == [0, 0]
    assert len(list((tmp_path / "games" / "games").rglob("*.zip"))) == 2


def test_making_again_is_free_and_other_games_are_refused(made: Path, few: Settings) -> None:
    root = made / folder_name(few, SEED)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.name != ".generate.lock"}
    generate_games(root, few.model_copy(update={"demonstrated": 0.5}), SEED)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    with pytest.raises(TasksConflictError, match=r'asked for .*"seed": 8'):
        generate_games(root, few, 8)


def test_folders_are_called_by_what_makes_the_games(few: Settings) -> None:
    names = {folder_name(few, 7), folder_name(few, 8), folder_name(few.model_copy(update={"ingredients": 2}), 7)}
    assert len(names) == 3
    assert folder_name(few.model_copy(update={"demonstrated": 0.5}), 7) in names


def test_other_peoples_games_are_never_mixed_with(tmp_path: Path) -> None:
    (tmp_path / "games").mkdir()
    with pytest.raises(TasksConflictError, match="not generated"):
        generate_games(tmp_path, TWO, 0)


def test_more_games_than_there_are_is_told(tmp_path: Path) -> None:
    """Nothing comes of a maze of one room; the draws for it fail one after the other."""
    impossible = Settings.model_construct(**{**dict(TWO), "games": ("treasure_hunter",), "treasure_rooms": 1})
    with pytest.raises(TasksCountError, match=r"no game train/treasure_hunter/00000 in 100 draws .*ask for fewer"):
        generate_games(tmp_path, impossible, 0)
    assert not (tmp_path / "games").exists()


def test_a_maker_that_fails_says_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFORM_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(WorkerError, match=r"ended with exit code 1 [\s\S]*No such file or directory"):
        generate_games(tmp_path / "root", TWO, 0)
    assert not (tmp_path / "root" / "games").exists()


def test_no_two_games_are_alike(refs: Sequence[TaskRef]) -> None:
    def content(ref: TaskRef) -> str:
        """What is true at first, in the words of the game."""
        with zipfile.ZipFile(ref.path) as file:
            game = json.loads(file.read("game.json"))
        names = {id_: info["name"] or id_ for id_, info in game["infos"]}
        return json.dumps(
            sorted(
                [each["name"], *(names.get(v["name"], v["name"]) for v in each["arguments"])] for each in game["world"]
            )
        )

    assert len({content(ref) for ref in refs}) == len(refs)


def test_unseen_food_is_prepared_as_training_never_prepares_it(refs: Sequence[TaskRef]) -> None:
    from textworld.challenges.tw_cooking.cooking import FOOD_PREPARATIONS_SPLITS

    trained = FOOD_PREPARATIONS_SPLITS["train"]
    for ref in refs:
        if ref.kind == "cooking":
            with zipfile.ZipFile(ref.path) as file:
                recipe = json.loads(file.read("game.json"))["metadata"]["ingredients"]
            seen = all((cooked, cut) in trained.get(food, ()) for food, cooked, cut in recipe)
            assert seen != ref.id.startswith("valid_unseen")


def test_unseen_ways_are_longer(few: Settings) -> None:
    made = {plan.id: plan.difficulty for plan in plans(few, 0)}
    assert made["train/coin_collector/00001"] == made["valid_seen/coin_collector/00001"] == {"distance": 3}
    assert made["valid_unseen/coin_collector/00001"] == {"distance": 4}
    assert made["train/treasure_hunter/00002"] == {"rooms": 6, "distance": 3}
    assert made["valid_unseen/treasure_hunter/00002"] == {"rooms": 8, "distance": 4}


def test_files_tell_no_day_and_no_place(refs: Sequence[TaskRef]) -> None:
    for ref in refs:
        with zipfile.ZipFile(ref.path) as file:
            assert file.read("game.z8")[0x12:0x18] == b"000000"
            assert "site-packages" not in file.read("game.json").decode()


def test_the_digest_is_of_ids_and_files(refs: Sequence[TaskRef], tmp_path: Path) -> None:
    assert games_digest(refs) == games_digest(refs[::-1]) != games_digest(refs[1:])
    copy = tmp_path / refs[0].path.name
    copy.write_bytes(refs[1].path.read_bytes())
    assert games_digest([TaskRef("textworld", refs[0].id, refs[0].kind, copy), *refs[1:]]) != games_digest(refs)


def test_what_is_missing_or_broken_is_told(made: Path, few: Settings, tmp_path: Path) -> None:
    root = made / folder_name(few, SEED)
    mine = tmp_path / root.name
    shutil.copytree(root, mine)
    tasks = Games(few, SEED, tmp_path)
    with pytest.raises(ValueError, match="expected a split, one of train, valid_seen, valid_unseen, got 'test'"):
        tasks.tasks("test")
    with pytest.raises(TasksNotFoundError, match="valid_unseen: 0"):
        Games(TWO, SEED, tmp_path).tasks("valid_unseen")
    broken, *_ = (mine / "games" / "valid_seen").rglob("*.zip")
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TaskFileError, match=r"expected a zip of game\.json and game\.z8, got .*made again"):
        tasks.tasks("valid_seen")
    broken.unlink()
    with pytest.raises(TasksCountError, match=r"expected 3 games of valid_seen in .*, found 2"):
        tasks.tasks("valid_seen")
    assert len(tasks.tasks("train")) == 6
