"""Tables in terminals of any width: columns give way from the right, names are never cut."""

import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.commands.tables import print_table

COLUMNS = ("split", "policy", "success", "reward", "pick two")
LINES = [("valid_unseen", "Bo4(pi_2, log pi_2/pi_1)", "12.5%", "0.125", "7%"), ("valid_seen", "pi_0", "1.0%", "0", "")]


def printed(width: int, columns: Sequence[str], lines: Sequence[tuple[str, ...]], least: int) -> list[str]:
    """The lines in a terminal so wide, without colours."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as told:
        patch.setenv("FORCE_COLOR", "1")  # rich then takes it for a terminal
        patch.setenv("COLUMNS", str(width))
        print_table(columns, lines, least)
    return re.sub(r"\x1b\[[0-9;]*m", "", told.getvalue()).splitlines()


def test_columns_give_way_from_the_right() -> None:
    told = "\n".join(printed(70, COLUMNS, LINES, 3))
    assert "0.125" in told
    assert "7%" not in told
    assert told.endswith("Left out, as the terminal is narrow: pick two.")
    assert "Left out" not in "".join(printed(100, COLUMNS, LINES, 3))


def test_without_a_terminal_nothing_gives_way(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [("x" * 300, *LINES[0][1:])], 3)
    told = capsys.readouterr().out
    assert "x" * 300 in told
    assert "7%" in told


@given(width=st.integers(40, 120), names=st.lists(st.text("ab_", min_size=1, max_size=90), min_size=1, max_size=4))
def test_no_line_is_too_wide_and_no_name_is_cut(width: int, names: list[str]) -> None:
    lines = printed(width, ("name", "n"), [(name, "1") for name in names], 2)
    assert max(map(len, lines)) <= width
    cells = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
    assert "".join(cells) == "".join(names)
