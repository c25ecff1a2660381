"""Settings that do not go together are refused, and the message says why."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.config import Experiment
from agentprm_dagster.config.catalog import (
    ExperimentError,
    experiment_files,
    load_catalog,
    load_experiment,
    read_experiment,
)
from agentprm_dagster.config.strict_yaml import read_yaml


def read(folder: Path, text: str) -> Experiment:
    path = folder / "tried.yaml"
    path.write_text(text, encoding="utf-8")
    return read_experiment(path)


@pytest.mark.parametrize("obstacle", ["dialogue: {format: restated}", "prm: {reply_weight: 0}"])
def test_ranking_by_replies_needs_values_behind_replies(tmp_path: Path, obstacle: str) -> None:
    needed = r"values behind replies: dialogue\.format: append and prm\.reply_weight above 0"
    with pytest.raises(ExperimentError, match=rf"improvement\.rank_by: reply needs {needed}"):
        read(tmp_path, f"improvement: {{rank_by: reply}}\n{obstacle}")
    allowed: Any = read(tmp_path, obstacle).improvement
    assert allowed.rank_by == "answer", "without it the same is allowed"
    assert read(tmp_path, "improvement: {rank_by: reply}").prm.reply_weight > 0


def test_an_experiment_extends_another_section_by_section(tmp_path: Path) -> None:
    smoke, tried = load_experiment("smoke"), read(tmp_path, "extends: smoke\nprm: {epochs: 7}\nseed: 3")
    assert (tried.name, tried.seed) == ("tried", 3)
    assert tried.prm == smoke.prm.model_copy(update={"epochs": 7})
    unchanged = {"name", "seed", "prm"}
    assert tried.model_dump(exclude=unchanged) == smoke.model_dump(exclude=unchanged)


def test_a_section_of_another_kind_is_not_mixed_with_the_one_below(tmp_path: Path) -> None:
    other = "environment: {kind: textworld, train: 12}\ndemonstrations: {expert: policy}\ntargets: {kind: shaped}"
    tried = read(tmp_path, f"extends: smoke\n{other}")
    assert tried.environment.model_dump(exclude_unset=True) == {"kind": "textworld", "train": 12}
    assert tried.targets.gamma == load_experiment("smoke").targets.gamma


def test_what_is_extended_must_be_there_and_begin_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExperimentError, match=r"tried\.yaml: extends: expected one of .*smoke.*, got 'smoker'"):
        read(tmp_path, "extends: smoker")
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path))
    with pytest.raises(ExperimentError, match=r"tried\.yaml extends .*tried\.yaml: expected an experiment to begin"):
        read(tmp_path, "extends: tried")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: other", r"tried\.yaml: name: it is named after its file, tried: leave it out"),
        ("extends: [smoke]", r"extends: expected one of .*smoke.*, got \['smoke'\]"),
        ("seed: 1\nprm: {epochs: 1}\nseed: 2", r"not valid YAML: (?s:.*)'seed' is named twice(?s:.*)line 3"),
        ("prm:\n  epochs: 1\n  epochs: 2", r"'epochs' is named twice"),
        ("? [seed]\n: 1", r"not valid YAML: (?s:.*)unhashable key"),
        ("iterations: yes", r"iterations: Input should be a valid integer"),
        ("pretraining: {hindsight: 1}", r"pretraining\.hindsight: Input should be a valid boolean"),
        ("sft: {learning_rate: yes}", r"sft\.learning_rate: Input should be a valid number"),
        ("sft: {learning_rate: .inf}", r"sft\.learning_rate: Input should be a finite number"),
        ("evaluation: {best_of: [4, yes]}", r"evaluation\.best_of\.1: Input should be a valid integer"),
    ],
)
def test_a_file_means_what_it_says(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ExperimentError, match=words):
        read(tmp_path, text)


def test_hidden_files_are_no_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path))
    (tmp_path / "._mine.yaml").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "mine.yaml").touch()
    assert list(experiment_files())[-1] == "mine"


def test_a_file_is_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "tried.yaml"
    path.write_bytes("description: Städte".encode("latin-1"))
    with pytest.raises(ExperimentError, match=r"tried\.yaml: expected text in UTF-8, .*: save it as UTF-8"):
        read_experiment(path)


@pytest.mark.parametrize(("written", "rate"), [("1", 1.0), ("1e-3", 1e-3), ("2E-3", 2e-3), ("4.0e-3", 4e-3)])
def test_a_number_may_be_written_in_any_way(tmp_path: Path, written: str, rate: float) -> None:
    read_rate = read(tmp_path, f"sft: {{learning_rate: {written}}}").sft.learning_rate
    assert (type(read_rate), read_rate) == (float, rate)


def test_one_value_stands_for_a_list_of_one(tmp_path: Path) -> None:
    assert read(tmp_path, "evaluation: {best_of: 4}").evaluation.best_of == (4,)
    several = read(tmp_path, "evaluation: {best_of: [2, 4], ranked_by: [reward, log_ratio]}").evaluation
    assert (several.best_of, several.ranked_by) == ((2, 4), ("reward", "log_ratio"))


@pytest.mark.parametrize(
    ("name", "twice"),
    [
        ("splits", "[valid_seen, valid_unseen, valid_seen]"),
        ("best_of", "[4, 4]"),
        ("ranked_by", "[reward, reward]"),
        ("lookahead.horizons", "[1, 1]"),
        ("lookahead.worlds", "[oracle, oracle]"),
    ],
)
def test_a_list_names_nothing_twice(tmp_path: Path, name: str, twice: str) -> None:
    *section, key = name.split(".")
    setting = f"{{{key}: {twice}}}"
    with pytest.raises(ExperimentError, match=rf"evaluation\.{name}: .*expected each once, got {twice[1:-1]}"):
        read(tmp_path, f"evaluation: {{{section[0]}: {setting}}}" if section else f"evaluation: {setting}")


@pytest.mark.parametrize("name", ["splits", "best_of", "ranked_by", "lookahead: {horizons"])
def test_what_is_evaluated_is_something(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExperimentError, match=r"evaluation\.\S+: Value should have at least 1 item"):
        read(tmp_path, f"evaluation: {{{name}: []}}{'}' * name.count('{')}")


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        (
            "environment: {valid_unseen: 0}",
            r"evaluation\.splits need tasks: set environment\.valid_unseen above 0",
        ),
        ("environment: {valid_unseen: null}", r"need tasks: set environment\.valid_unseen"),
        (
            "environment: {train: null, valid_seen: null}",
            r"training and .* need tasks: set environment\.train, valid_seen above 0",
        ),
        ("environment: {source: alfworld, valid_unseen: 0}", r"need tasks: set environment\.valid_unseen"),
        (
            "evaluation: {games: 250}",
            r"games: 250 asks for more of each split than there are: environment\.valid_seen: 200",
        ),
        ("environment: {held_out_rooms: 0.1}", r"0\.1 parts the real games; .* those of valid_unseen"),
    ],
)
def test_games_that_will_be_missed_are_asked_for(tmp_path: Path, settings: str, needed: str) -> None:
    with pytest.raises(ExperimentError, match=needed):
        read(tmp_path, settings)


def test_games_that_nobody_plays_need_no_number(tmp_path: Path) -> None:
    settings: Any = read(tmp_path, "environment: {valid_unseen: 0}\nevaluation: {splits: valid_seen}").environment
    assert settings.valid_unseen == 0
    assert read(tmp_path, "environment: {source: alfworld, train: null, valid_seen: null}").environment.train is None


def test_shipped_experiments_play_all_real_games() -> None:
    for experiment in load_catalog().experiments.values():
        settings: Any = experiment.environment
        if settings.kind == "alfworld" and settings.source == "alfworld":
            counts = settings.model_dump(include=set(experiment.evaluation.splits))
            assert not any(counts.values()), f"{experiment.name} plays only some, or more than there are"


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        (
            "prm: {loss: relative}\ndialogue: {format: restated}",
            r"prm\.loss: relative compares answers .*dialogue\.format: append",
        ),
        ("llm: {budget_money: 5}", r"budget_money needs prices: set price_read and price_drawn"),
        ("llm: {request: {model: other, seed: 1}}", r"request names model, which the other settings"),
        ("demonstrations: {expert: llm, action_noise: 0.1}", r"expert: llm needs action_noise: 0; got 0\.1"),
        ("demonstrations: {expert: llm, place_noise: 0.1}", r"expert: llm needs place_noise: 0; got 0\.1"),
        ("demonstrations: {expert: llm, likeliest_first: 2}", r"expert: llm needs likeliest_first: 0; got 2"),
        (
            "improvement: {reward: inverse_prm, rank_by: reply}",
            r"rank_by: reply needs values behind replies; .*: prm has",
        ),
        (
            "targets: {kind: shaped}\nimprovement: {panel: {every: 1, committee: 2}}",
            r"PRMs of returns: .*targets\.kind: mc",
        ),
    ],
)
def test_what_a_reward_model_cannot_do_is_refused(tmp_path: Path, settings: str, needed: str) -> None:
    with pytest.raises(ExperimentError, match=needed):
        read(tmp_path, settings)


@pytest.mark.parametrize(
    ("setting", "needed"),
    [
        ("place_noise: 0.1", r"place_noise: textworld knows no places to be mistaken: set it to 0"),
        ("likeliest_first: 2", r"likeliest_first: textworld knows no order: set it to 0"),
    ],
)
def test_what_an_environment_cannot_do_is_refused(tmp_path: Path, setting: str, needed: str) -> None:
    with pytest.raises(ExperimentError, match=needed):
        read(tmp_path, f"environment: {{kind: textworld}}\ndemonstrations: {{{setting}}}")


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ("prm: {reply_weight: 0}", r"needs values behind replies: .*append and prm\.reply_weight above 0"),
        ("dialogue: {format: restated}", r"needs values behind replies"),
        ("prm: {loss: relative}", r"compares different states: .* prm\.loss: absolute"),
        ("improvement: {reward: inverse_prm}", r"compares different states: improvement\.reward: prm"),
    ],
)
def test_predicted_ends_need_a_value(tmp_path: Path, settings: str, needed: str) -> None:
    with pytest.raises(ExperimentError, match=needed):
        read(tmp_path, f"evaluation: {{lookahead: {{worlds: learned}}}}\n{settings}")
    assert read(tmp_path, settings).evaluation.lookahead.worlds == ()


def test_disagreement_must_grow_before_it_stops_anything(tmp_path: Path) -> None:
    def limit(value: str) -> float | None:
        panel = f"{{every: 10, committee: 2, tripwire: disagreement, limit: {value}}}"
        improvement: Any = read(tmp_path, f"improvement: {{panel: {panel}}}").improvement
        limit: float | None = improvement.panel.limit
        return limit

    for low in ("0.05", "1"):
        with pytest.raises(ExperimentError, match=rf"limit {low}: disagreement stops at .*: set limit above 1"):
            limit(low)
    assert (limit("1.5"), limit("null")) == (1.5, None)


@pytest.mark.parametrize("placement", ["disagreement", "uncertainty"])
@pytest.mark.parametrize("of_order_alone", ["prm: {loss: relative}", "improvement: {reward: inverse_prm}"])
def test_what_compares_states_needs_a_prm_that_can(tmp_path: Path, placement: str, of_order_alone: str) -> None:
    settings = f"rollouts: {{branch_placement: {placement}}}\n{of_order_alone}"
    with pytest.raises(ExperimentError, match=f"{placement} compares different states"):
        read(tmp_path, settings)


@pytest.mark.parametrize(
    "setting",
    [
        "environment: {demonstrated: 0}",
        "environment: {held_out_rooms: 1.0}",
        "targets: {held_out_games: 0}",
        "targets: {held_out_games: 1}",
        "evaluation: {best_of_prior: -1}",
        "rollouts: {patience: 1}",
        "prm: {reply_weight: -1}",
        "improvement: {rank_by: value}",
        "improvement: {labels: firm}",
    ],
)
def test_settings_out_of_range_are_named(tmp_path: Path, setting: str) -> None:
    section, name = setting.replace(": {", ".").split(":")[0].split(".")
    with pytest.raises(ExperimentError, match=rf"\n  {section}\.{name}: Input should be"):
        read(tmp_path, setting)


def test_only_a_model_from_scratch_is_pretrained(tmp_path: Path) -> None:
    with pytest.raises(
        ExperimentError, match=r"pretraining is for model\.name: embedded; smollm2 is pretrained already"
    ):
        read(tmp_path, "model: {name: smollm2}\npretraining: {episodes: 5}")
    assert read(tmp_path, "pretraining: {episodes: 5}").pretraining.episodes == 5


def test_exploration_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"with environment\.demonstrated below 1 rollouts play other games"):
        read(tmp_path, "rollouts: {expert_starts: 0.5}\nenvironment: {demonstrated: 0.5}")
    with pytest.raises(ExperimentError, match=r"improvement\.steered: no such setting"):
        read(tmp_path, "improvement: {kind: trl, steered: 0.5}")


def test_a_wrong_setting_is_told_with_its_file_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path))
    (tmp_path / "below.yaml").write_text("seed: 1\nevaluation:\n  best_of: [4, 1]\n", encoding="utf-8")
    with pytest.raises(ExperimentError) as error:
        read(tmp_path, "extends: below\n# a comment\nsft:\n  epochs: 0\n")
    lines = str(error.value).splitlines()
    assert lines[1].startswith("  sft.epochs: ") and lines[1].endswith("greater than 0, got 0 (tried.yaml, line 4)")
    assert lines[2].startswith("  evaluation.best_of.1: ") and lines[2].endswith("got 1 (below.yaml, line 3)")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *(("010", "010"), ("1:30", "1:30"), ("1_000", "1_000"), ("0b1", "0b1"), ("0o7", "0o7"), ("1:30.5", "1:30.5")),
        *(("yes", "yes"), ("No", "No"), ("on", "on"), ("OFF", "OFF"), ("y", "y"), ("2026-01-01", "2026-01-01")),
        *(("true", True), ("False", False), ("TRUE", True), ("null", None), ("~", None), ("", None), ("'~'", "~")),
        *(
            ("0", 0),
            ("-7", -7),
            ("+7", 7),
            ("0x1F", 31),
            ("12e03", 12000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-1E-2", -0.01),
        ),
        *(("1e", "1e"), ("1.2.3", "1.2.3"), ("٣", "٣"), ("<<", "<<"), ("=", "="), ("'1'", "1"), ('"010"', "010")),
    ],
)
def test_yaml_is_read_as_yaml_1_2_and_doubtful_numbers_are_text(tmp_path: Path, written: str, value: object) -> None:
    path = tmp_path / "tried.yaml"
    path.write_text(f"a: {written}\n", encoding="utf-8")
    read_value = read_yaml(path)[0]["a"]
    assert (type(read_value), read_value) == (type(value), value)


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_json_is_read_as_it_is_meant(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("yaml") / "tried.yaml"
    path.write_text(json.dumps(value), encoding="utf-8")
    assert read_yaml(path)[0] == value


def test_a_default_count_of_rollouts_takes_what_is_there(tmp_path: Path) -> None:
    assert read(tmp_path, "environment: {train: 24}").rollouts.games == 300
    with pytest.raises(ExperimentError, match=r"rollouts\.games: 300 asks for more than the 24 games"):
        read(tmp_path, "environment: {train: 24}\nrollouts: {games: 300}")


def test_what_is_just_possible_is_taken(tmp_path: Path) -> None:
    for text in (
        "environment: {train: 2, valid_seen: null}\nevaluation: {splits: valid_unseen}",
        "environment: {train: 6}\nrollouts: {games: 2, per_game: 10, branch_states: 0}",
        "rollouts: {branch_actions: 0}",
        "rollouts: {branch_states: 0, per_game: 2}\nprm: {loss: relative}",
        "gates: {min_wins: 4190}",
        "improvement: {panel: {every: 150}}",
        "model: {hidden_size: 6, heads: 3}",
        "model: {name: meta-llama/Llama-3.2-1B, revision: main}",
        "model: {name: ./local, hidden_size: 16384, layers: 256}",
        "environment: {source: alfworld, train: null}\nrollouts: {games: 3000}",
        "seed: 4294967295",
    ):
        assert read(tmp_path, text), text
