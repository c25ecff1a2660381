"""A bundle that is as it was written checks; whatever somebody changes in it is named, also where hashes are changed
with it.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentprm_dagster.bundles.check import check
from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.bundles.files import check_files
from agentprm_dagster.bundles.findings import Check, exit_code
from agentprm_dagster.bundles.record import BUNDLE, Part
from agentprm_dagster.episodes.tables import read_episodes
from forging import forge, record_of, rehash, set_cell, set_score

PLAYED = "evaluation/valid_seen-pi_1-best_of_1"


def found(folder: Path) -> dict[str, Check]:
    return {each.name: each for each in check(folder, play=False)}


def differing(folder: Path) -> dict[str, tuple[str, ...]]:
    return {name: each.differences for name, each in found(folder).items() if each.differences}


def test_what_was_exported_checks_elsewhere(bundle: Path) -> None:
    checks = list(check(bundle, play=False))
    assert [each.name for each in checks] == ["files", "records", "cards", "games", "replay", "targets", "scores"]
    assert exit_code(checks) == 0
    counted = {each.name: each.counted for each in checks}
    assert counted["replay"].startswith("144 episodes")  # 8 plays of 12 games, and 48 rollouts


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_flipped_bit_anywhere_is_named(bundle: Path, data: st.DataObject) -> None:
    record = record_of(bundle)
    entry = data.draw(st.sampled_from([each for each in record.files if each.bytes]))
    path = bundle / entry.path
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(flipped)
    try:
        assert check_files(bundle, record).differences == (f"{entry.path} was changed",)
    finally:
        path.write_bytes(content)


def test_missing_and_added_files_are_named(bundle: Path) -> None:
    (bundle / "policy" / "policy.json").unlink()
    (bundle / "targets" / "more.parquet").write_bytes(b"")
    (bundle / "manifest.json").write_text("{}")
    assert differing(bundle)["files"] == (
        "manifest.json was added",
        "policy/policy.json is missing",
        "targets/more.parquet was added",
    )


def test_weights_that_are_rehashed_are_not_those_of_the_manifest(bundle: Path) -> None:
    (bundle / "policy" / "policy.json").write_text("0.99")
    rehash(bundle)
    assert differing(bundle).keys() == {"records"}
    (sentence,) = differing(bundle)["records"]
    assert sentence.startswith("policy/policy.json was changed, by the manifest of toy/improved_policy[1]")


def other_reward(value: object) -> object:
    return 1.0 - float(str(value))


FORGED: list[tuple[str, Part, Callable[[Path], None], dict[str, str]]] = [
    (
        "reward",
        "evaluation",
        lambda folder: set_cell(folder / PLAYED / "episodes.parquet", "reward", 0, other_reward),
        {"replay": "its reward is written down as", "scores": f"{PLAYED}: "},
    ),
    (
        "reward of a rollout",
        "rollouts",
        lambda folder: set_cell(folder / "rollouts/episodes.parquet", "reward", 3, other_reward),
        {"replay": "rollouts: episode ", "targets": "and the rollouts give"},
    ),
    (
        "observation",
        "evaluation",
        lambda folder: set_cell(folder / PLAYED / "turns.parquet", "observation", 2, lambda text: f"{text}!"),
        {"replay": f"{PLAYED}: episode "},
    ),
    (
        "admissible",
        "evaluation",
        lambda folder: set_cell(folder / PLAYED / "turns.parquet", "admissible", 1, lambda known: not known),
        {"replay": "turn 1: admissible is written down as False"},
    ),
    (
        "answer",
        "evaluation",
        lambda folder: set_cell(folder / PLAYED / "turns.parquet", "response", 0, lambda text: f"{text} twice"),
        {"replay": "and its answer says"},
    ),
    (
        "target",
        "targets",
        lambda folder: set_cell(folder / "targets/targets.parquet", "q", 5, lambda q: float(str(q)) / 2 + 1e-6),
        {"targets": ": q is written down as"},
    ),
    (
        "held out",
        "targets",
        lambda folder: set_cell(folder / "targets/targets.parquet", "held_out", 0, lambda held: not held),
        {"targets": ": held_out is written down as"},
    ),
    (
        "score",
        "evaluation",
        lambda folder: set_score(folder, "ci_low", 0.75),
        {"scores": "ci_low is written down as 0.75, and the episodes give"},
    ),
    (
        "step cap",
        "evaluation",
        lambda folder: set_score(folder, "max_steps", 50),
        {"scores": "max_steps is written down as 50, and the episodes give 30"},
    ),
]


@pytest.mark.parametrize(("part", "change", "expected"), [pytest.param(*rest, id=name) for name, *rest in FORGED])
def test_a_forged_value_is_named_though_every_digest_agrees(
    bundle: Path, part: Part, change: Callable[[Path], None], expected: dict[str, str]
) -> None:
    change(bundle)
    forge(bundle, part)
    differences = differing(bundle)
    assert not {"files", "records", "cards", "games"} & differences.keys()
    for name, words in expected.items():
        assert any(words in sentence for sentence in differences[name]), differences


def test_an_episode_of_another_game_is_named(bundle: Path) -> None:
    first, second, *_ = read_episodes(bundle / PLAYED)
    set_cell(bundle / PLAYED / "episodes.parquet", "game", 0, lambda _: second.game)
    forge(bundle, "evaluation")
    differences = differing(bundle)["replay"]
    assert f"{PLAYED}: game {first.game} was played 0 times" in differences
    assert f"{PLAYED}: game {second.game} was played 2 times" in differences
    assert any(f"episode {first.episode_id}: it begins with" in sentence for sentence in differences)


def test_a_row_without_episodes_and_episodes_without_a_row_are_named(bundle: Path) -> None:
    (bundle / PLAYED).rename(bundle / "evaluation/valid_seen-pi_1-best_of_3-prm")
    forge(bundle, "evaluation")
    assert {
        f"{PLAYED}: 1 rows count 0 folders of episodes",
        "evaluation/valid_seen-pi_1-best_of_3-prm: 0 rows count 1 folders of episodes",
    } <= set(differing(bundle)["scores"])


def test_a_card_that_says_something_else_is_named(bundle: Path) -> None:
    card = bundle / "policy" / "README.md"
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace("It is one seed's.", "It is the best."), encoding="utf-8")
    rehash(bundle)
    (sentence,) = differing(bundle)["cards"]
    assert sentence.startswith("policy/README.md, line ")
    assert "It is the best." in sentence


def test_cards_of_other_code_are_not_compared(bundle: Path) -> None:
    card = bundle / "policy" / "README.md"
    card.write_text(card.read_text(encoding="utf-8").replace("Limits", "Bounds"), encoding="utf-8")
    record = record_of(bundle)
    rehash(bundle, replace(record, exported_by=replace(record.exported_by, source="0" * 64)))
    checks = list(check(bundle, play=False))
    assert exit_code(checks) == 3
    (sentence,) = next(each.not_done for each in checks if each.name == "cards")
    assert "they were written by other code" in sentence


def test_settings_that_nothing_was_made_under_are_named(bundle: Path) -> None:
    path = bundle / "experiment.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace('"gamma": 0.95', '"gamma": 0.9'), encoding="utf-8")
    rehash(bundle)
    differences = differing(bundle)
    assert [each for each in differences["records"] if each.startswith("targets was made under targets = ")]
    assert differences["targets"]


def test_a_manifest_that_is_missing_from_the_lineage_is_named(bundle: Path) -> None:
    (path,) = (bundle / "lineage/toy/initial_policy/0").iterdir()
    path.unlink()
    rehash(bundle)
    assert all("whose manifest is missing" in sentence for sentence in differing(bundle)["records"])


def test_a_digest_of_a_game_that_nobody_played_is_named(bundle: Path) -> None:
    path = bundle / "games.json"
    text = path.read_text(encoding="utf-8")
    at = text.index('": "', text.index("valid_seen/")) + 4
    path.write_text(text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :], encoding="utf-8")
    rehash(bundle)
    checks = found(bundle)
    (sentence,) = checks["games"].differences
    assert sentence.startswith("games.json: valid_seen/")
    assert checks["replay"].not_done


def test_games_that_this_machine_has_otherwise_are_named_and_the_rest_is_replayed(
    bundle: Path, strangers_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(bundle)  # makes the games
    shutil.copytree(strangers_home, tmp_path / "home")
    monkeypatch.setenv("AGENTPRM_HOME", str(tmp_path / "home"))
    game = sorted((tmp_path / "home").rglob("valid_seen/*/*/game.tw-pddl"))[0]
    game.write_text(game.read_text(encoding="utf-8").replace("REASON", "reason") + "\n", encoding="utf-8")
    checks = list(check(bundle, play=False))
    assert exit_code(checks) == 3
    by_name = {each.name: each for each in checks}
    (sentence,) = by_name["games"].not_done
    assert game.parent.name in sentence
    assert by_name["replay"].counted.startswith("140 episodes")
    assert "evaluation/valid_seen-pi_0-best_of_1: 1 episodes, whose games are not on this machine" in (
        by_name["replay"].not_done
    )


def test_games_that_are_not_there_leave_the_replay_undone(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TemporaryDirectory() as empty:
        monkeypatch.setenv("ALFWORLD_DATA", empty)
        path = bundle / "experiment.yaml"
        text = path.read_text(encoding="utf-8").replace('"source": "generated"', '"source": "alfworld"')
        path.write_text(text, encoding="utf-8")
        rehash(bundle)
        checks = list(check(bundle, play=False))
    by_name = {each.name: each for each in checks}
    assert exit_code(checks) == 3
    assert by_name["games"].not_done[0].startswith("the games are not on this machine: expected ALFWorld games in")
    assert not by_name["targets"].not_done
    assert not by_name["scores"].not_done


def test_a_changed_record_is_no_bundle(bundle: Path) -> None:
    path = bundle / BUNDLE
    path.write_text(path.read_text(encoding="utf-8").replace('"iteration": 1', '"iteration": 2', 1), encoding="utf-8")
    with pytest.raises(BundleError, match="one that was changed after it was written"):
        list(check(bundle, play=False))
