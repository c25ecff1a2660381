"""A grammar names things; whatever else it would have TextWorld run is found."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.envs.alfworld import stock as alfworld
from agentprm_dagster.envs.alfworld.errors import EngineError, GameFileError
from agentprm_dagster.envs.alfworld.expressions import EXPRESSIONS, foreign_code, is_allowed
from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.stock import StockEngine
from bad_games import CODE_IN_A_GRAMMAR, with_code
from kitchen import kitchen, write

GRAMMAR = kitchen()["grammar"]


def test_alfworlds_own_grammar_has_nothing_foreign() -> None:
    assert foreign_code(GRAMMAR) is None
    compact = json.dumps({"a": [{"rhs": "{o.name} is [{o2.name | in(o2:object, o:object)}]"}]})
    assert foreign_code(f'grammar :: """{compact}""";') is None, "however it is laid out"


def test_everything_that_is_allowed_is_a_name() -> None:
    class Entity:
        id, name, indefinite = "apple_bar_1", "apple 1", "a"

    things = dict.fromkeys(("o", "o2", "r", "co", "ko", "outero", "outerr"), Entity())
    values = {eval(expression, {"__builtins__": {}}, things) for expression in EXPRESSIONS}
    assert values <= {"apple 1", "a", "a apple 1", things["o"]}


@pytest.mark.parametrize(
    "written",
    [
        *("o.name.upper()", "o . name", "r.__class__", "o.definite", "x.name", "1", "", "o.name#", "#x"),
        *("o.indefinite+' '+o.name", "o.indefinite + ' ' + r.name", "lambda: o", "[o for o in ()]", "f'{o}'", "o2.id"),
    ],
)
def test_what_is_near_to_it_is_foreign(written: str) -> None:
    quoted = json.dumps(f"You see {{{written}}}.")
    assert foreign_code(f"action x {{ template :: {quoted}; }}") is not None
    assert not is_allowed(written)


@given(st.text(max_size=12), st.sampled_from([0, 900, 2500, 5000, 9000]))
def test_no_text_in_braces_is_overlooked(text: str, place: int) -> None:
    """Put into any of the grammar's texts, as JSON would write it."""
    at = GRAMMAR.index('"rhs": "', place) + len('"rhs": "')
    grammar = GRAMMAR[:at] + json.dumps(f"{{{text}}}")[1:-1] + GRAMMAR[at:]
    rule = text.count("#") == 2 and text.strip().startswith("#")
    assert rule or (foreign_code(grammar) is None) == (text.partition("|")[0].strip() in EXPRESSIONS)


@pytest.mark.parametrize("where", CODE_IN_A_GRAMMAR)
def test_both_engines_refuse_it_and_recommend_neither(where: str, tmp_path: Path) -> None:
    path = write(tmp_path, with_code(where))
    for engine in (lambda: Game.load(path), StockEngine(path).reset):
        with pytest.raises(GameFileError, match="leave this game alone") as error:
            engine()
        assert "engine: alfworld" not in str(error.value)


def test_the_worker_reads_nothing_foreign_even_where_nobody_looked_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file may be another by the time that TextWorld opens it."""
    monkeypatch.setattr(alfworld, "read_game_data", lambda path: {})
    monkeypatch.chdir(tmp_path)
    with StockEngine(tmp_path) as engine:
        for where in ("in a reply", "in letters by number", "in a command", "over two lines", "in a list"):
            engine.load(write(tmp_path / where.replace(" ", "_"), with_code(where)))
            with pytest.raises(EngineError, match=r"the grammar would run .* as Python"):
                engine.reset()
        engine.load(write(tmp_path / "name", with_code("in the name of a reply")))
        engine.reset()
        with pytest.raises(EngineError, match="as Python"):
            engine.step("look")
        engine.load(write(tmp_path / "good", kitchen()))
        assert engine.reset().text.startswith("-= Welcome")
    assert not (tmp_path / "RAN").exists()
