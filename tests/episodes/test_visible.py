"""What is shown acts on nothing, and nothing readable is lost."""

from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.episodes.visible import one_line, visible


@given(st.text())
def test_all_is_printable_and_what_was_stays(text: str) -> None:
    shown = visible(text)
    assert all(character.isprintable() or character in "\n\t" for character in shown)
    if text.isprintable():
        assert shown == text
    assert one_line(text).isprintable()


def test_what_is_written_out() -> None:
    assert visible("a\x1b[31mb\x00\u202e\ud800\r\nc\td") == "a\\x1b[31mb\\x00\\u202e\\ud800\nc\td"
    assert one_line("  a\n\n b\x07 ") == "a b\\x07"


def test_what_is_too_long_is_cut_and_says_so() -> None:
    assert visible("abc", 3) == "abc"
    assert visible("abcd", 3) == "abc ... (1 more characters)"
