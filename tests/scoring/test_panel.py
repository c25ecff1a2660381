"""A panel is the same wherever its games lie and in whatever order they are found; another one says in what."""

import json
import shutil
from pathlib import Path

import pytest

from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.scoring import score
from agentprm_dagster.scoring.checking import check
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.panel import Panel, differences, make_panel
from agentprm_dagster.scoring.scored import Wanted, scored


def moved(home: Path, to: Path) -> Path:
    """The same games in another home, copied in the opposite order."""
    for path in sorted(home.glob("games/**/*"), reverse=True):
        if path.is_file():
            target = to / path.relative_to(home)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return to


def test_one_digest_wherever_the_games_lie(
    panel: Panel, games_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTPRM_HOME", str(moved(games_home, tmp_path)))
    there = make_panel("smoke", ["valid_seen"], [20, 6, 20])
    assert there == panel
    assert there.digest == panel.digest
    assert Panel.model_validate_json(panel.model_dump_json()).digest == panel.digest


def test_how_games_are_found_is_no_part_of_what_they_are(panel: Panel) -> None:
    other = panel.source.model_copy(update={"experiment": "another"})
    assert panel.model_copy(update={"source": other}).digest == panel.digest


def test_a_changed_file_is_another_panel(
    panel: Panel, games_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = moved(games_home, tmp_path)
    monkeypatch.setenv("AGENTPRM_HOME", str(home))
    path = next(home.glob("games/**/valid_seen/**/traj_data.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "more": 1}))
    other = make_panel("smoke", ["valid_seen"], [6, 20])
    assert other.digest != panel.digest
    assert [words.partition(",")[0] for words in differences(panel, other)] == [
        "valid_seen: 1 games of the same id have other files"
    ]


def test_panels_say_in_what_they_differ(panel: Panel) -> None:
    other = make_panel("smoke", ["valid_seen", "valid_unseen"], [20], limit=3)
    words = list(differences(panel, other))
    assert words[0] == "caps: 6, 20 and 20"
    assert words[1].startswith("valid_seen: 6 and 3 games, 3 of them the same; ")
    assert words[2].startswith("valid_unseen: 0 and 3 games, 0 of them the same; ")
    assert list(differences(panel, panel)) == []


def test_a_limit_spreads_over_all_kinds_of_tasks() -> None:
    kinds = [game.kind for game in make_panel("smoke", ["valid_seen"], [5], limit=3).splits["valid_seen"]]
    assert kinds == ["look_at_obj_in_light", "pick_clean_then_place_in_recep", "pick_heat_then_place_in_recep"]


@pytest.mark.parametrize("split", ["train", "train_held_out", "nonsense"])
def test_what_is_no_split_to_score_on_is_refused(split: str) -> None:
    with pytest.raises(ScoreError, match=r"smoke has no .*: choose --split of valid_seen, valid_unseen"):
        make_panel("smoke", [split], [5])


@pytest.mark.slow
def test_another_kind_of_environment_is_scored_and_checked(
    games_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = "description: few\nenvironment: {kind: textworld, train: 3, valid_seen: 3, valid_unseen: 3}\n"
    (tmp_path / "few.yaml").write_text(settings)
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path))
    card = score("expert:search", panel="few", caps=(30,), processes=1)
    assert (card.panel.environment, card.panel.rules, card.results[0].successes) == ("textworld", "textworld 1.7", (3,))
    assert [(each.differences, each.not_done) for each in check(card)] == [((), ())] * 5
    with pytest.raises(ScoreError, match="textworld is played by one engine alone"):
        scored(["expert:search"], Wanted(panel="few", caps=(30,), engine="stock", processes=1), SilentMonitor())
