"""`agentprm score` as a user calls it."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agentprm_dagster import cli
from agentprm_dagster.config.catalog import ExperimentError
from agentprm_dagster.scoring.card import Card, read_card
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.files import write_card

HOSTILE = "<script>alert(1)</script> | [x](javascript:1) \x1b[2J\u202e"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["score", *map(str, arguments)])


@pytest.fixture
def written(walkthrough: Card, tmp_path: Path) -> Path:
    path = tmp_path / "card.json"
    write_card(walkthrough, path)
    return path


def test_a_score_is_written_in_three_forms(tmp_path: Path) -> None:
    out = tmp_path / "card.json"
    asked = ("expert:walkthrough", "--panel", "smoke", "--caps", "6,20", "--processes", 1)
    trained = ("--training-hours", 3, "--trained-on", "an abacus")
    done = call(*asked, "--limit", 2, "--name", "mine", "--out", out, *trained)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("mine\n")
    card = read_card(out)
    assert (card.name, len(card.panel.splits["valid_seen"])) == ("mine", 2)
    assert card.training is not None
    assert (card.training.hours, card.training.processor, card.training.stated) == (3, "an abacus", True)
    text = (tmp_path / "card.md").read_text()
    assert text.startswith("# mine\n")
    assert "3 hours on an abacus (stated by the user)" in text
    assert (tmp_path / "card.html").read_text().startswith("<!doctype html>")
    assert out.read_text().count("\n") < 250
    assert json.loads(call(out, "--json").stdout) == json.loads(out.read_text())
    assert call(out, "--out", tmp_path / "again.json").exit_code == 0
    for ending in ("json", "md", "html"):
        assert (tmp_path / f"again.{ending}").read_bytes() == (tmp_path / f"card.{ending}").read_bytes()


def test_a_check_says_what_differs_by_its_exit_code(written: Path, tmp_path: Path) -> None:
    good = call(written, "--check")
    assert good.exit_code == 0, good.output
    assert good.stdout.count("as it says") == 5
    forged = tmp_path / "forged.json"
    forged.write_text(written.read_text().replace('"successes": [6]', '"successes": [5]'))
    bad = call(written, forged, "--check")
    assert bad.exit_code == 1
    assert "successes is written down as (5,), and the records give (6,)" in bad.stdout
    told = json.loads(call(forged, "--check", "--json").stdout)
    assert [each["name"] for each in told[0]["checks"] if each["differences"]] == ["results"]


def test_a_check_that_could_not_be_done_is_no_success(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    text = written.read_text().replace('"source": "generated"', '"source": "alfworld"')
    elsewhere.write_text(text)
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    assert call(elsewhere, "--check").exit_code == 3


def test_cards_are_compared_and_tabled(written: Path, handcoded: Card, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(handcoded.to_json())
    lines = json.loads(call(written, "--against", other, "--json").stdout)
    assert [(line["cap"], line["n"]) for line in lines] == [(6, 6), (20, 6)]
    assert "won alone" in call(written, "--against", other).stdout
    assert "| expert:walkthrough | - | 1 |" in call(written, other, "--table").stdout


@pytest.mark.parametrize(
    "wrong",
    [
        ("--caps", "0"),
        ("--caps", "a"),
        ("--split", "valid_seen,"),
        ("--out", "card.txt"),
        ("--panel", "nothing"),
        ("--training-hours", "3"),
        ("--set", "rollouts.slots=4"),
        ("--set", "llm.temperature=1"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: tuple[str, str]) -> None:
    assert call("expert:walkthrough", *wrong).exit_code == 2


@pytest.mark.parametrize("wrong", ["llm.concurrency", "llm.budget_tokens=0", "llm.budget=3"])
def test_settings_of_a_server_are_checked_as_an_experiments_are(wrong: str) -> None:
    done = call("http://127.0.0.1:1/v1", "--model", "it", "--panel", "smoke", "--set", wrong)
    assert isinstance(done.exception, ExperimentError)
    assert wrong.partition("=")[0] in str(done.exception)


def test_wishes_that_an_agent_does_not_heed_are_refused() -> None:
    done = call("expert:handcoded", "--panel", "smoke", "--temperature", 1)
    assert isinstance(done.exception, ScoreError)
    assert "reads no prompt and samples nothing here" in str(done.exception)


class Tags(HTMLParser):
    """The tags of a page and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.met.append((tag, dict(attrs)))


def test_nothing_that_a_card_says_acts_on_a_page(walkthrough: Card, tmp_path: Path) -> None:
    (run,) = walkthrough.runs
    first, *rest = run.games["valid_seen"]
    odd = run.model_copy(update={"games": {"valid_seen": (first.model_copy(update={"commands": (HOSTILE,)}), *rest)}})
    write_card(walkthrough.model_copy(update={"name": HOSTILE, "runs": (odd,)}), tmp_path / "card.json")
    page, text = ((tmp_path / f"card.{ending}").read_text() for ending in ("html", "md"))
    tags = Tags()
    tags.feed(page)
    assert not {tag for tag, _ in tags.met} & {"script", "a", "img", "iframe", "link", "form", "object"}
    assert not [name for _, attributes in tags.met for name in attributes if name.startswith("on") or name == "href"]
    assert "default-src 'none'" in page
    assert "<script" not in text
    assert "](java" not in text.replace("\\]", "")
    assert not {"\x1b", "\u202e"} & set(page + text)


def test_nothing_that_a_card_says_acts_on_a_terminal(walkthrough: Card, tmp_path: Path) -> None:
    row = walkthrough.results[0]
    odd = row.model_copy(update={"by_kind": {HOSTILE + "[red]": row.micro}, "split": "[bold]x\x1b[2J"})
    card = walkthrough.model_copy(update={"name": HOSTILE, "results": (odd,), "panel_digest": "0" * 64})
    (tmp_path / "card.json").write_text(card.to_json())
    for asked in ((), ("--check",), ("--table",)):
        printed = call(tmp_path / "card.json", *asked).output
        assert not {"\x1b", "\u202e"} & set(printed), asked
    assert "[bold]x" in call(tmp_path / "card.json").output
