"""What MLflow shows of policies, evaluations and episodes: on a real SQLite store, and on a real server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient, MlflowException
from mlflow.entities import LoggedModel, Run, Trace, ViewType
from typer.testing import CliRunner, Result

from agentprm_dagster import cli
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tables import read_episodes, write_episodes
from agentprm_dagster.episodes.values import write_values
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.owner import user_name
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.resources.tracker import MlflowTracker
from agentprm_dagster.tracking import pages
from agentprm_dagster.tracking.client import behind
from agentprm_dagster.tracking.committed import begun
from agentprm_dagster.tracking.evaluations import way
from agentprm_dagster.tracking.sync import sync
from agentprm_dagster.tracking.traces import SAMPLE, Where, find, sample, write_traces
from evaluations import GAMES, evaluation, files_in, played, policy, values_of
from mlflow_servers import mlflow_server
from toy import NullTracker
from tracked import CHECKPOINT, make, recipe_of

GREEDY, BEST_OF_4 = "success/valid_unseen/greedy", "success/valid_unseen/best_of_4"
WINS = {0: 1, 1: 6, 2: 3}


def number(client: MlflowClient, experiment: str) -> str:
    """The MLflow experiment's id."""
    return client.get_experiment_by_name(experiment).experiment_id


def models_of(client: MlflowClient, experiment: str, by: str = GREEDY) -> list[LoggedModel]:
    """All logged models, best first."""
    order = [{"field_name": f"metrics.{by}", "ascending": False}]
    return list(client.search_logged_models([number(client, experiment)], order_by=order))


def traces_of(client: MlflowClient, experiment: str) -> list[Trace]:
    return list(client.search_traces(locations=[number(client, experiment)], max_results=200))


def named(client: MlflowClient, experiment: str) -> dict[str, Run]:
    """All runs by name, those that hold others too."""
    return {run.info.run_name: run for run in client.search_runs([number(client, experiment)], "", ViewType.ALL)}


def two_iterations(tracker: Any, store: ArtifactStore, experiment: str) -> list[Artifact]:
    """pi_0, pi_1 and pi_2, and their evaluations."""
    policies = [policy(tracker, store, experiment, i) for i in WINS]
    first = evaluation(tracker, store, experiment, {0: policies[0], 1: policies[1]}, WINS)
    return [*policies, first, evaluation(tracker, store, experiment, {2: policies[2]}, WINS)]


# Parents


def test_runs_of_an_iteration_are_children_of_one_and_the_others_of_the_experiments(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    for asset, iteration in (("demonstrations", 0), ("rollouts", 1), ("prm", 1), ("prm", 2), ("results", 0)):
        make(tracker, store, recipe_of(experiment, asset, iteration))
    runs = named(client, experiment)
    above = {name: run.data.tags.get("mlflow.parentRunId") for name, run in runs.items()}
    by_id = {run.info.run_id: name for name, run in runs.items()}
    assert {name: by_id.get(parent or "") for name, parent in above.items()} == {
        experiment: None,
        "iteration 1": experiment,
        "iteration 2": experiment,
        "demonstrations": experiment,
        "results": experiment,
        "rollouts[1]": "iteration 1",
        "prm[1]": "iteration 1",
        "prm[2]": "iteration 2",
    }
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {run.data.tags["mlflow.user"] for run in runs.values()} == {user_name()}
    assert runs["iteration 1"].info.start_time <= runs["rollouts[1]"].info.start_time
    assert runs["iteration 1"].info.end_time == runs["prm[1]"].info.end_time
    assert runs[experiment].info.end_time == runs["results"].info.end_time


def test_a_parent_that_a_person_deleted_is_not_made_again(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    make(tracker, store, recipe_of(experiment, "prm", 1))
    client.delete_run(named(client, experiment)["iteration 1"].info.run_id)
    artifact = make(tracker, store, recipe_of(experiment, "world_model", 1))
    assert "mlflow.parentRunId" not in client.get_run(artifact.manifest.mlflow_run_id).data.tags
    assert len(named(client, experiment)) == 4


# Models and numbers


def test_the_better_policy_ranks_first_on_its_games(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    *policies, first, second = two_iterations(tracker, store, experiment)
    ranked = models_of(client, experiment)
    assert [model.tags["digest"] for model in ranked] == [policies[i].digest for i in (1, 2, 0)]
    assert [model.name for model in ranked] == ["improved_policy-1", "improved_policy-2", "initial_policy-0"]
    assert {(model.model_type, str(model.status)) for model in ranked} == {("policy", "READY")}
    best = {metric.key: metric for metric in ranked[0].metrics if metric.key != "loss"}
    assert {key: metric.value for key, metric in best.items()} == {
        GREEDY: 6 / GAMES, BEST_OF_4: 7 / GAMES, "n/valid_unseen/greedy": GAMES, "n/valid_unseen/best_of_4": GAMES
    }  # fmt: skip
    assert {metric.run_id for metric in best.values()} == {first.manifest.mlflow_run_id}
    assert {metric.step for metric in best.values()} == {1}
    games = best[GREEDY]
    (dataset,) = {
        (read.dataset.name, read.dataset.digest, read.dataset.profile)
        for made in (first, second)
        for read in client.get_run(made.manifest.mlflow_run_id).inputs.dataset_inputs
        if {"mlflow.data.context": "evaluation"}.items() <= {tag.key: tag.value for tag in read.tags}.items()
    }
    assert dataset == ("valid_unseen", games.dataset_digest, f'{{"num_rows": {GAMES}}}')
    only = [{"dataset_name": "valid_unseen", "dataset_digest": games.dataset_digest}]
    found = client.search_logged_models([number(client, experiment)], datasets=only)
    assert {model.model_id for model in found} == {model.model_id for model in ranked}
    read = client.get_run(first.manifest.mlflow_run_id).inputs.model_inputs
    assert {each.model_id for each in read} == {ranked[0].model_id, ranked[2].model_id}


def test_success_over_iterations_is_one_curve_of_the_experiment(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    two_iterations(tracker, store, experiment)
    top = named(client, experiment)[experiment].info.run_id
    for name, more in ((GREEDY, 0), (BEST_OF_4, 1)):
        curve = {point.step: point.value for point in client.get_metric_history(top, name)}
        assert curve == {i: (wins + more) / GAMES for i, wins in WINS.items()}


def test_the_numbers_of_a_reward_model_are_linked_to_it_and_to_its_targets(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    targets = make(tracker, store, recipe_of(experiment, "mc_value_targets"), {"page.md": b""})
    artifact = make(tracker, store, recipe_of(experiment, inputs=(targets.as_input("mc_value_targets"),)))
    (model,) = models_of(client, experiment, "loss")
    assert (model.name, model.model_type, model.source_run_id) == (
        "prm-2", "reward_model", artifact.manifest.mlflow_run_id
    )  # fmt: skip
    (metric,) = model.metrics
    assert (metric.key, metric.value, metric.dataset_name) == ("loss", 0.5, f"{experiment}/mc_value_targets[2]")
    run = client.get_run(artifact.manifest.mlflow_run_id)
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert [point.value for point in client.get_metric_history(run.info.run_id, "loss")] == [0.5]
    assert [point.value for point in client.get_metric_history(run.info.run_id, "training/loss")] == [1.0]


def test_an_evaluation_names_policies_that_mlflow_was_never_told_of(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    made = policy(NullTracker(), store, experiment, 1)
    evaluation(tracker, store, experiment, {1: made}, WINS)
    (model,) = models_of(client, experiment)
    assert (model.tags["digest"], model.tags["artifact"]) == (made.digest, made.uri)
    sync(tracker.mlflow(), store)
    assert [each.model_id for each in models_of(client, experiment)] == [model.model_id]


@pytest.mark.parametrize(
    ("ranked_by", "best_of", "world", "expected"),
    [
        (None, 1, None, "greedy"),
        ("prm", 4, None, "best_of_4"),
        ("inverse_prm", 4, None, "best_of_4"),
        ("log_ratio", 4, None, "best_of_4_by_log_ratio"),
        ("prm", 4, "learned", "best_of_4_2_ahead_learned"),
    ],
)
def test_a_way_has_the_same_name_in_every_iteration(
    ranked_by: str | None, best_of: int, world: str | None, expected: str
) -> None:
    assert way({"ranked_by": ranked_by, "best_of": best_of, "world": world, "horizon": 2}) == expected


# Pages


def test_a_run_shows_its_page_and_pictures_and_says_what_it_is(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTPRM_DAGSTER_URL", "http://127.0.0.1:3100")
    page = b"# PRM\n\n![curve](a.png)\n\nordered" + b"\n.." * 50
    files = {**CHECKPOINT, "page.md": page, "a.png": b"picture", "member_0/b.png": b"x"}
    monkeypatch.setattr(pages, "LARGEST", len(page))
    artifact = make(tracker, store, recipe_of(experiment), {**files, "big.png": b"x" * (len(page) + 1)})
    run_id = artifact.manifest.mlflow_run_id
    assert {each.path for each in client.list_artifacts(run_id)} == {"page.md", "a.png"}
    tags = client.get_run(run_id).data.tags
    note = tags["mlflow.note.content"]
    assert f"(http://127.0.0.1:3100/assets/{experiment}/prm?view=partitions&partition=2)" in note
    assert "(http://127.0.0.1:3100/runs/dagster-run)" in note
    assert "# PRM" in note
    assert "a.png" not in note
    assert note.count("..") < 15
    assert tags["mlflow.source.name"] == "agentprm_dagster.assets.prm"
    assert tags["mlflow.user"]
    version = client.get_model_version_by_alias(f"{experiment}-prm", "iteration-2")
    assert "ordered" in version.description


def test_an_experiment_says_what_it_is_unless_a_person_has_said_it(
    tracker: MlflowTracker, client: MlflowClient, experiment: str
) -> None:
    for _ in range(2):
        with tracker.run(recipe_of(experiment), "dagster-run", "Two iterations."):
            pass
        assert client.get_experiment_by_name(experiment).tags["mlflow.note.content"] == "Two iterations."
    client.set_experiment_tag(number(client, experiment), "mlflow.note.content", "mine")
    with tracker.run(recipe_of(experiment), "dagster-run", "Two iterations."):
        pass
    assert client.get_experiment_by_name(experiment).tags["mlflow.note.content"] == "mine"


# Traces


def test_a_trace_says_what_the_tables_say(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    made = policy(tracker, store, experiment, 1)
    artifact = evaluation(tracker, store, experiment, {1: made}, WINS)
    (model,) = models_of(client, experiment)
    traces = traces_of(client, experiment)
    assert len(traces) == SAMPLE + (GAMES - 6) + (GAMES - 7)
    for trace in traces:
        assert_equal(trace, artifact, gamma=None)
        assert trace.info.trace_metadata["mlflow.sourceRun"] == artifact.manifest.mlflow_run_id
        assert trace.info.trace_metadata["mlflow.modelId"] == model.model_id
    of_model = client.search_traces(locations=[number(client, experiment)], model_id=model.model_id)
    assert len(of_model) == len(traces)


def assert_equal(trace: Trace, artifact: Artifact, gamma: float | None) -> None:
    """That a trace, its tags and its spans say what the tables of an artifact say."""
    tags = trace.info.tags
    episodes = {each.episode_id: each for each in read_episodes(artifact.path / tags["play"])}
    episode, values = episodes[tags["episode"]], values_of([episodes[tags["episode"]]])[tags["episode"]]
    assert (tags["game"], tags["task_type"]) == (episode.game, episode.task_type)
    assert (tags["won"], tags["digest"]) == (str(episode.won).lower(), artifact.digest)
    root, *turns = trace.data.spans
    assert root.inputs == {"observation": episode.first_observation}
    assert root.outputs == {"won": episode.won, "reward": episode.reward}
    assert [span.parent_id for span in turns] == [root.span_id] * len(episode.turns)
    seen, last = episode.first_observation, len(turns) - 1
    for i, (span, turn) in enumerate(zip(turns, episode.turns, strict=True)):
        assert span.inputs == {"observation": seen}
        assert span.outputs == {"reason": turn.reason, "action": turn.action, "observation": turn.observation}
        of_turn = {key: span.attributes[key] for key in ("turn", "admissible", "parsed", "q", "value_after", "return")}
        discount = 1.0 if gamma is None else gamma ** (last - i)
        assert of_turn == {
            "turn": i,
            "admissible": turn.admissible,
            "parsed": turn.parsed,
            "q": values[i].q,
            "value_after": values[i].after,
            "return": discount * episode.reward,
        }
        seen = turn.observation


def test_an_episode_written_twice_is_one_trace_and_its_return_is_discounted_where_gamma_is_known(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str, tmp_path: Path
) -> None:
    whole = played(wins=2, games=3)
    branch = Episode("game-2#0/b", "game-2", "go", whole[2].first_observation, whole[2].turns, 1.0, 2, "game-2#0")
    write_episodes([*whole, branch], tmp_path)
    write_values(values_of([*whole, branch]), tmp_path)
    recipe = recipe_of(experiment, "rollouts", 2, config={"targets.gamma": 0.5})
    artifact = make(tracker, store, recipe, files_in(tmp_path))
    assert len(traces_of(client, experiment)) == len(whole), "the sample has whole episodes alone"
    drawn = find(artifact, branch.episode_id)
    for _ in range(2):
        run_id = str(artifact.manifest.mlflow_run_id)
        (trace_id,) = write_traces(client, run_id, artifact, drawn, begun(artifact))
    assert len(traces_of(client, experiment)) == len(whole) + 1
    assert_equal(trace := client.get_trace(trace_id), artifact, gamma=0.5)
    inherited = [span.attributes.get("inherited", False) for span in trace.data.spans[1:]]
    assert inherited == [True, True, False]
    assert trace.info.tags["policy"] == "pi_1"


def test_a_sample_has_won_and_lost_episodes_of_the_newest_policy(store: ArtifactStore, experiment: str) -> None:
    policies = {i: policy(NullTracker(), store, experiment, i) for i in (0, 1)}
    artifact = evaluation(NullTracker(), store, experiment, policies, {0: 4, 1: 4})
    drawn = sample(artifact)
    assert drawn == sample(artifact)
    assert {where.iteration for where in drawn} == {1}
    episodes = [
        next(each for each in read_episodes(artifact.path / where.play) if each.episode_id == name)
        for where, names in drawn.items()
        for name in names
    ]
    assert sorted(each.won for each in episodes) == [False] * SAMPLE + [True] * SAMPLE
    assert sample(policies[1]) == {}
    assert find(artifact, "nobody's") == {}
    assert set(find(artifact, "game-0#0")) == {Where(f"valid_unseen-pi_{i}-best_of_{n}", i) for i in (0, 1) for n in (
        "1", "4-prm"
    )}  # fmt: skip


def test_the_command_writes_any_episode_and_says_what_is_missing(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore
) -> None:
    """Under the name of an experiment that is there, as the command takes no other."""

    def asked(episode: str) -> Result:
        return CliRunner().invoke(cli.app, ["trace", "smoke", episode, "-i", "1"])

    made = policy(NullTracker(), store, "smoke", 1)
    evaluation(NullTracker(), store, "smoke", {1: made}, WINS)
    assert "`agentprm mlflow sync` makes it" in str(asked("game-0#0").exception)
    sync(tracker.mlflow(), store)
    assert "has no episode 'nobody'" in str(asked("nobody").exception)
    before = len(traces_of(client, "smoke"))
    for _ in range(2):
        ids = re.findall("selectedEvaluationId=([^&]+)", asked("game-0#0").stdout)
        shown = {trace.info.trace_id: trace.info.tags["episode"] for trace in traces_of(client, "smoke")}
        assert [shown[each] for each in ids] == ["game-0#0"] * 2, "greedy and Best-of-4"
    assert before < len(shown) <= before + 2


# Champions


def test_the_champion_is_the_policy_that_was_crowned_last(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    first, second = (policy(tracker, store, experiment, i) for i in (1, 2))
    untold = policy(NullTracker(), store, experiment, 3)
    name = f"{experiment}-policy"
    for made in (second, first, untold):
        tracker.champion(made)
        assert client.get_model_version_by_alias(name, "champion").tags["digest"] == made.digest
    policy(tracker, store, experiment, 4)
    sync(tracker.mlflow(), store)
    assert client.get_model_version_by_alias(name, "champion").tags["digest"] == untold.digest
    assert client.get_model_version_by_alias(name, "iteration-1").tags["digest"] == first.digest
    assert len(client.search_model_versions(f"name = '{name}'")) == 4


def test_a_champion_without_mlflow_or_without_a_checkpoint_costs_a_warning(
    tracker: MlflowTracker,
    client: MlflowClient,
    store: ArtifactStore,
    experiment: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise MlflowException("gone")

    made = policy(tracker, store, experiment, 1)
    with monkeypatch.context() as patch:
        patch.setattr(client, "search_model_versions", gone)
        tracker.champion(made)
    assert "gone, when making" in caplog.text
    tracker.mlflow().ask(lambda client: None)
    tracker.champion(make(tracker, store, recipe_of(experiment, "improved_policy"), {"page.md": b""}))
    assert "expected a policy with a checkpoint" in caplog.text
    with pytest.raises(MlflowException):
        client.get_model_version_by_alias(f"{experiment}-policy", "champion")


# The same later


def account(client: MlflowClient, experiment: str) -> object:
    """All that MLflow says of an experiment, but for ids, times, and who said it."""
    runs = named(client, experiment)
    models = {model.model_id: model for model in models_of(client, experiment)}
    fleeting = {"owner", "mlflow.parentRunId", "dagster_run_id", "artifact", "experiment"}

    def without_name(text: object) -> str:
        return str(text).replace(experiment, "it")

    def metrics(found: Any) -> list[Any]:
        return sorted(
            (each.key, each.value, each.step, without_name(each.dataset_name), str(each.dataset_digest))
            for each in found
            if not each.key.startswith("training/")
        )

    told = {
        without_name(name): (
            run.info.status,
            {key: without_name(value) for key, value in run.data.tags.items() if key not in fleeting},
            run.data.params,
            {key: value for key, value in run.data.metrics.items() if not key.startswith("training/")},
            [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, GREEDY)],
            sorted(each.path for each in client.list_artifacts(run.info.run_id)),
            sorted(without_name(read.dataset.name) for read in run.inputs.dataset_inputs),
        )
        for name, run in runs.items()
    }
    return (
        told,
        sorted((model.name, model.model_type, metrics(model.metrics)) for model in models.values()),
        sorted(
            (
                trace.info.tags["digest"],
                trace.info.tags["play"],
                [(span.name, span.inputs, span.outputs) for span in trace.data.spans],
            )
            for trace in traces_of(client, experiment)
        ),
        sorted(
            (without_name(version.name), version.tags["digest"])
            for kind in ("policy", "prm")
            for version in client.search_model_versions(f"name = '{experiment}-{kind}'")
        ),
    )


def test_sync_writes_what_the_stages_would_have_told_and_nothing_twice(
    tracker: MlflowTracker, client: MlflowClient, store: ArtifactStore, experiment: str
) -> None:
    two_iterations(tracker, store, f"{experiment}-a")
    at_once = account(client, f"{experiment}-a")
    assert sync(tracker.mlflow(), store)["written"] == 0
    assert account(client, f"{experiment}-a") == at_once
    two_iterations(NullTracker(), store, f"{experiment}-b")
    for _ in range(2):
        sync(tracker.mlflow(), store)
        assert account(client, f"{experiment}-b") == at_once


STEPS = ("create_logged_model", "create_model_version", "log_artifact")


@pytest.mark.parametrize("call", STEPS)
def test_what_fails_on_the_way_is_told_later_once(
    tracker: MlflowTracker,
    client: MlflowClient,
    store: ArtifactStore,
    experiment: str,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise MlflowException("gone")

    def one_iteration(name: str) -> None:
        evaluation(tracker, store, name, {1: policy(tracker, store, name, 1)}, WINS)

    name = f"{experiment[:60]}-{call}"
    with monkeypatch.context() as patch:
        patch.setattr(client, call, gone)
        one_iteration(name)
    assert behind().exists()
    tracker.reconcile(store)
    assert not behind().exists()
    one_iteration(f"{name}-whole")
    assert account(client, name) == account(client, f"{name}-whole")


# A server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server's address."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as url:
        yield url


def test_a_server_shows_the_same(
    server: str, shared_home: Path, store: ArtifactStore, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    tracker, client = MlflowTracker(), MlflowClient(server, server)
    *policies, _, last = two_iterations(tracker, store, experiment)
    ranked = mlflow.search_logged_models(
        [number(client, experiment)],
        order_by=[{"field_name": f"metrics.{GREEDY}", "ascending": False}],
        output_format="list",
    )
    assert [model.tags["digest"] for model in ranked] == [policies[i].digest for i in (1, 2, 0)]
    traces = [trace for trace in traces_of(client, experiment) if trace.info.tags["digest"] == last.digest]
    assert len(traces) == 2 * SAMPLE
    for trace in traces:
        assert_equal(trace, last, gamma=None)
    tracker.champion(policies[1])
    loaded = mlflow.artifacts.download_artifacts(f"models:/{experiment}-policy@champion")
    assert (Path(loaded) / "model.safetensors").read_bytes() == b"weights 1"
    at_once = account(client, experiment)
    assert sync(tracker.mlflow(), store)["failed"] == 0
    assert account(client, experiment) == at_once
