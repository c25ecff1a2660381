"""Episodes written as tables and read again."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.tables import EPISODES, TURNS, TableError, read_episodes, write_episodes


def turn(name: str) -> Turn:
    return Turn(
        reason=f"why {name}",
        action=name,
        observation=f"after {name}\n",
        response=f"said {name}",
        parsed=name != "b",
        admissible=name != "c",
        candidates=("go", "look") if name == "a" else (),
        tokens=(5, 0, 151_668) if name == "b" else (),
    )


def episode(name: str, turns: str, *, reward: float = 0.0) -> Episode:
    return Episode(name, "game", "pick_two_obj_and_place", "first", tuple(map(turn, turns)), reward)


PARENT = replace(episode("p", "abc"), truncated=True)
BRANCH = replace(episode("p/1", "abxy", reward=1.0), start=2, parent="p")
RESET = replace(episode("r", "abz"), start=2)
TWIG = replace(episode("p/1/1", "abxz"), start=3, parent="p/1")
EMPTY = episode("empty", "")
EPISODES_OF_ALL_KINDS = [PARENT, EMPTY, BRANCH, TWIG, RESET]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_episodes(EPISODES_OF_ALL_KINDS, tmp_path)
    assert read_episodes(tmp_path) == EPISODES_OF_ALL_KINDS


@given(st.data())
def test_whatever_continues_whatever(data: st.DataObject) -> None:
    episodes: list[Episode] = []
    for i in range(data.draw(st.integers(0, 6))):
        parent = data.draw(st.sampled_from([None, *episodes]))
        own = episode(str(i), data.draw(st.text("abc", max_size=4)), reward=data.draw(st.floats(0, 1)))
        if parent is None:
            episodes.append(replace(own, start=data.draw(st.integers(0, len(own.turns)))))
        else:
            start = data.draw(st.integers(0, len(parent.turns)))
            turns = parent.turns[:start] + own.turns
            episodes.append(replace(own, turns=turns, start=start, parent=parent.episode_id))
    with TemporaryDirectory() as folder:
        write_episodes(episodes, Path(folder))
        assert read_episodes(Path(folder)) == episodes


def test_values_are_plain_python(tmp_path: Path) -> None:
    write_episodes(EPISODES_OF_ALL_KINDS, tmp_path)
    parent, _, branch, *_ = read_episodes(tmp_path)
    assert (type(branch.reward), type(branch.start), type(branch.parent), parent.parent) == (float, int, str, None)
    assert (parent.truncated, branch.truncated) == (True, False)
    assert type(parent.turns[0].parsed) is bool
    assert [type(token) for token in parent.turns[1].tokens] == [int] * 3


def test_without_any_branch(tmp_path: Path) -> None:
    write_episodes([PARENT], tmp_path)
    assert read_episodes(tmp_path) == [PARENT]


def test_without_any_turn(tmp_path: Path) -> None:
    write_episodes([EMPTY], tmp_path)
    assert read_episodes(tmp_path) == [EMPTY]


def test_real_demonstrations(demonstrations: list[Episode], tmp_path: Path) -> None:
    named = [replace(episode, episode_id=str(i)) for i, episode in enumerate(demonstrations)]
    write_episodes(named, tmp_path)
    assert read_episodes(tmp_path) == named


def test_inherited_turns_are_written_once(tmp_path: Path) -> None:
    write_episodes(EPISODES_OF_ALL_KINDS, tmp_path)
    turns = pd.read_parquet(tmp_path / TURNS)
    assert turns["episode_id"].tolist() == ["p"] * 3 + ["p/1"] * 2 + ["p/1/1"] + ["r"] * 3
    assert turns["turn"].tolist() == [0, 1, 2, 2, 3, 3, 0, 1, 2], "what no parent in the table has is written"


def test_the_same_episodes_give_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        write_episodes(EPISODES_OF_ALL_KINDS, tmp_path / name)
        written.append([(tmp_path / name / table).read_bytes() for table in (EPISODES, TURNS)])
    assert written[0] == written[1]


def test_a_branch_before_its_parent_is_refused(tmp_path: Path) -> None:
    write_episodes([BRANCH, PARENT], tmp_path)
    with pytest.raises(TableError, match="p/1 continues p, which does not stand before it"):
        read_episodes(tmp_path)


def test_a_missing_turn_is_noticed(tmp_path: Path) -> None:
    write_episodes([PARENT], tmp_path)
    pd.read_parquet(tmp_path / TURNS).iloc[:-1].to_parquet(tmp_path / TURNS)
    with pytest.raises(TableError, match="episode p has 2 turns, its row says 3"):
        read_episodes(tmp_path)


@pytest.mark.parametrize(("table", "column"), [(EPISODES, "truncated"), (TURNS, "candidates")])
def test_a_table_without_all_columns_is_refused(tmp_path: Path, table: str, column: str) -> None:
    write_episodes([PARENT], tmp_path)
    pd.read_parquet(tmp_path / table).drop(columns=column).to_parquet(tmp_path / table)
    with pytest.raises(TableError, match=rf"{table}: expected the columns episode_id, .*; {column} not found: .*anew"):
        read_episodes(tmp_path)
