"""Values by turn are read as they were written."""

from pathlib import Path

from agentprm_dagster.episodes.values import TurnValue, read_values, write_values


def test_round_trip(tmp_path: Path) -> None:
    values = {"b": [TurnValue(0.25, 0.5), TurnValue(1.0, None)], "a": [TurnValue(0.125, None)]}
    assert read_values(tmp_path) == {}
    write_values(values, tmp_path)
    assert read_values(tmp_path) == values


def test_no_episode(tmp_path: Path) -> None:
    write_values({}, tmp_path)
    assert read_values(tmp_path) == {}
