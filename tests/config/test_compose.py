"""What is composed on the command line is an experiment of its own, and its name alone stands for it."""

import re
import stat
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.config import Experiment
from agentprm_dagster.config.catalog import ExperimentError, experiment_files, load_experiment, study_files
from agentprm_dagster.config.compose import _part, compose

pytestmark = pytest.mark.usefixtures("home")


def settings_of(name: str, *without: str) -> dict[str, object]:
    return load_experiment(name).model_dump(exclude={"name", "description", *without})


def test_nothing_said_is_the_base_itself(home: Path) -> None:
    assert compose("quickstart") == compose("quickstart", seeds=[0]) == ["quickstart"]
    assert not home.exists()


def test_the_name_tells_base_studies_settings_and_seed() -> None:
    composed = compose("quickstart", ["hacking", "replies"], ["sft.epochs=2", "improvement.beta=0.3"], [0, 2])
    name = "quickstart__hacking__replies__improvement_beta_0_3__sft_epochs_2"
    assert composed == [name, f"{name}__seed_2"]
    assert settings_of(composed[0], "seed") == settings_of(composed[1], "seed")
    assert [load_experiment(each).seed for each in composed] == [0, 2]
    experiment, quickstart = load_experiment(name), load_experiment("quickstart")
    how: Any = experiment.improvement
    assert (how.beta, how.rank_by, experiment.sft.epochs) == (0.3, "reply", 2)
    assert experiment.prm == quickstart.prm


def test_a_branch_begins_from_its_origin_with_the_same_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path))
    written = "extends: quickstart\nfrom: {experiment: quickstart, iteration: 2}\n"
    (tmp_path / "branch.yaml").write_text(written, encoding="utf-8")
    composed = compose("branch", (), ["improvement.beta=0.3"], [0, 5])
    origins = [load_experiment(name).origin for name in composed]
    assert [(origin.experiment, origin.iteration) for origin in origins if origin] == [
        ("quickstart", 2), ("quickstart__seed_5", 2)
    ]  # fmt: skip
    assert load_experiment("quickstart__seed_5").seed == 5


@pytest.mark.parametrize("base", ["quickstart", "alfworld"])
@pytest.mark.parametrize("study", [name for name in study_files() if name not in ("tripwire", "append", "lora")])
def test_every_study_goes_over_either_base(base: str, study: str) -> None:
    (name,) = compose(base, [study])
    assert name == f"{base}__{study}"
    assert settings_of(name) != settings_of(base)


@pytest.mark.parametrize("base", ["paper_3b", "inverse_3b"])
def test_the_papers_settings_have_todays_variants(base: str) -> None:
    (name,) = compose(base, ["append", "lora"])
    experiment = load_experiment(name)
    assert (experiment.dialogue.format, experiment.model.lora and experiment.model.lora.rank) == ("append", 16)
    assert experiment.improvement.learning_rate == 10 * load_experiment(base).improvement.learning_rate


def test_the_tripwire_goes_over_what_is_watched() -> None:
    (name,) = compose("alfworld", ["hacking", "few_rollouts", "tripwire"])
    improvement: Any = load_experiment(name).improvement
    assert improvement.panel.tripwire == "kl"


def test_what_is_composed_is_a_base_too() -> None:
    (steered,) = compose("smoke", ["steered"])
    assert compose("smoke", ["steered"], seeds=[4]) == compose(steered, seeds=[4]), "one experiment, kept once"
    assert compose(steered, settings=["sft.epochs=3"]) == ["smoke__steered__sft_epochs_3"]


def test_it_is_kept_for_this_user_alone(home: Path) -> None:
    (name,) = compose("smoke", settings=["llm.request={top_p: 1e-05, user: 'on é'}"])
    (path,) = (home / "experiments").iterdir()
    assert path == experiment_files()[name]
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]
    assert load_experiment(name).llm.request == {"top_p": 1e-05, "user": "on é"}


def test_a_name_has_one_meaning(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    taken = tmp_path / "mine" / "smoke__steered.yaml"
    taken.write_text("extends: smoke")
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(taken.parent))
    with pytest.raises(ExperimentError, match=f"{re.escape(str(taken))} is another experiment"):
        compose("smoke", ["steered"])
    taken.write_text("extends: smoke\nimprovement: {steered: 0.5}")
    assert compose("smoke", ["steered"]) == ["smoke__steered"], "the same by other words"
    assert not home.exists()


def test_users_have_studies_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "studies").mkdir(parents=True)
    (tmp_path / "mine" / "studies" / "long.yaml").write_text("sft: {epochs: 20}")
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path / "mine"))
    assert load_experiment(*compose("smoke", ["long", "steered"])).sft.epochs == 20
    (tmp_path / "mine" / "studies" / "steered.yaml").touch()
    with pytest.raises(ExperimentError, match="two studies are called steered"):
        compose("smoke", ["steered"])


def test_the_order_of_studies_counts_and_that_of_settings_does_not() -> None:
    one, other = (
        compose("quickstart", ["low_sample", "few_rollouts"]),
        compose("quickstart", ["few_rollouts", "low_sample"]),
    )
    assert [load_experiment(name).rollouts.games for name in (*one, *other)] == [150, 120]
    settings = ["sft.epochs=2", "prm.epochs=2.0"]
    assert compose("smoke", settings=settings) == compose("smoke", settings=settings[::-1])


def test_a_name_stays_short_enough() -> None:
    settings = ["evaluation.best_of_temperature=0.7", "targets.held_out_games=0.25", "rollouts.branch_continuations=2"]
    first, second = (compose("quickstart", ["steered", "reset"], [*settings, f"prm.epochs={n}"]) for n in (2, 3))
    assert first != second
    assert {len(name) for name in (*first, *second)} == {100}
    assert load_experiment(*first).prm.epochs == 2


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("improvement.beta", 0.3, "improvement_beta_0_3"),
        ("improvement.beta", 1.0, "improvement_beta_1"),
        ("prm.learning_rate", 4.9e-05, "prm_learning_rate_0_000049"),
        ("rollouts.games", None, "rollouts_games_null"),
        ("llm.evaluate", True, "llm_evaluate_true"),
        ("evaluation.splits", ["valid_seen"], "evaluation_splits_valid_seen"),
    ],
)
def test_a_value_is_told_where_a_name_can_tell_it(key: str, value: object, part: str) -> None:
    assert _part(key, value) == part


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = SCALARS | st.lists(SCALARS, min_size=2, max_size=3) | st.dictionaries(st.text(), SCALARS)


@given(VALUES, VALUES)
def test_no_two_values_have_one_name(one: object, other: object) -> None:
    alike = one == other and isinstance(one, bool) == isinstance(other, bool)
    assert alike or _part("llm.request", one) != _part("llm.request", other)


@given(st.text(min_size=1), VALUES)
def test_every_setting_has_a_name_that_dagster_takes(key: str, value: object) -> None:
    Experiment(name=f"smoke__{_part(key, value)}"[:100])


@pytest.mark.parametrize(
    ("base", "study"),
    [
        *product(("quickstart", "alfworld", "textworld", "smollm2", "smoke"), ("rft", "outcome_dpo", "grpo")),
        *product(("quickstart", "alfworld", "smoke"), ("dagger",)),
    ],
)
def test_a_baseline_takes_the_place_of_online_dpo(base: str, study: str) -> None:
    (name,) = compose(base, [study])
    taken, before = load_experiment(name).improvement, load_experiment(base).improvement
    assert (taken.kind, taken.reward, taken.reads) == (study, None, ())
    assert (taken.optimizer, taken.learning_rate) == (before.optimizer, before.learning_rate)


@pytest.mark.parametrize("base", ["quickstart", "alfworld"])
def test_an_implicit_reward_takes_the_place_of_the_prm_alone(base: str) -> None:
    (name,) = compose(base, ["implicit_dpo"])
    taken, before = (load_experiment(each).improvement.model_dump() for each in (name, base))
    assert (taken.pop("kind"), taken.pop("reward"), taken.pop("implicit")["kind"]) == (
        "implicit_dpo",
        None,
        "outcome_dpo",
    )
    assert taken == {key: value for key, value in before.items() if key not in ("kind", "reward")}
    with pytest.raises(ExperimentError, match="a panel watches a reward model, of which there is none"):
        compose(base, ["implicit_dpo"], ["improvement.panel.every=4"])


def test_another_kind_keeps_what_it_knows_of_a_section_that_names_none() -> None:
    (name,) = compose("quickstart", ["grpo"], ["targets.kind=shaped", "improvement.omega=2"])
    experiment: Any = load_experiment(name)
    assert (experiment.improvement.kl_weight, experiment.improvement.omega) == (0.04, 2)
    assert (experiment.targets.gamma, experiment.targets.kind) == (0.9, "shaped")
    (name,) = compose("quickstart", [], ["improvement.kind=trl"])
    assert load_experiment(name).improvement.model_dump(include={"steps", "beta"}) == {"steps": 64, "beta": 0.5}
