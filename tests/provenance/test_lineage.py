"""Lineage by hand, as a tree, a diagram and a picture; `test_histories` asks it about random histories."""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.drawing import draw, text_tree
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.layout import layout
from agentprm_dagster.provenance.lineage import Lineage, lineage
from agentprm_dagster.provenance.store import ArtifactStore
from artifacts import commit, make_recipe


@pytest.fixture
def loop(store: ArtifactStore) -> dict[str, Artifact]:
    """Two iterations: demos -> policy -> rollouts -> prm -> policy -> rollouts; then rollouts[1] is redone."""
    made = {}
    made["demos"] = commit(store, make_recipe("demonstrations", 1))
    made["pi0"] = commit(store, make_recipe("initial_policy", 0, (made["demos"].as_input("demonstrations"),)))
    made["rollouts1"] = commit(store, make_recipe("rollouts", 1, (made["pi0"].as_input("behaviour_policy"),)))
    made["prm1"] = commit(store, make_recipe("prm", 1, (made["rollouts1"].as_input("rollouts"),)))
    inputs = (made["pi0"].as_input("behaviour_policy"), made["prm1"].as_input("prm"))
    made["pi1"] = commit(store, make_recipe("improved_policy", 1, inputs))
    made["rollouts2"] = commit(store, make_recipe("rollouts", 2, (made["pi1"].as_input("behaviour_policy"),)))
    made["redone"] = commit(store, make_recipe("rollouts", 1, (made["pi0"].as_input("behaviour_policy"),), seed=1))
    return made


def test_a_redo_changes_no_answer_already_given(store: ArtifactStore, loop: dict[str, Artifact]) -> None:
    upstream = lineage(store, "smoke", "prm", 1)
    assert upstream.versions() == [loop[name].version for name in ("prm1", "rollouts1", "pi0", "demos")]
    assert store.current("smoke", "rollouts", 1) == loop["redone"]
    downstream = lineage(store, "smoke", "rollouts", 1, direction="downstream")
    assert downstream.versions() == [loop["redone"].version]
    old = lineage(store, "smoke", "rollouts", 1, loop["rollouts1"].digest[:12], "downstream")
    assert old.versions() == [loop[name].version for name in ("rollouts1", "prm1", "pi1", "rollouts2")]


def test_the_tree_says_roles_and_shows_shared_parts_once(store: ArtifactStore, loop: dict[str, Artifact]) -> None:
    tree = lineage(store, "smoke", "rollouts", 2).to_dict()
    assert tree["direction"] == "upstream"
    policy = tree["root"]["children"][0]
    assert (policy["asset"], policy["roles"]) == ("improved_policy", ["behaviour_policy"])
    initial, prm = policy["children"]
    assert (initial["asset"], initial["repeated"], len(initial["children"])) == ("initial_policy", False, 1)
    again = prm["children"][0]["children"][0]
    assert (again["asset"], again["repeated"], again["children"]) == ("initial_policy", True, [])


def test_an_artifact_read_in_two_roles_is_one_edge(store: ArtifactStore) -> None:
    policy = commit(store, make_recipe("initial_policy", 0))
    both = (policy.as_input("behaviour_policy"), policy.as_input("reference"))
    made = commit(store, make_recipe("improved_policy", 1, both))
    answer = lineage(store, "smoke", "improved_policy", 1)
    assert answer.edges() == [(policy.version, made.version)]
    assert answer.root.children[0].roles == ("behaviour_policy", "reference")


def test_a_deleted_input_is_shown_as_not_there(store: ArtifactStore, loop: dict[str, Artifact]) -> None:
    for path in loop["pi0"].path.iterdir():
        path.unlink()
    answer = lineage(store, "smoke", "rollouts", 2)
    found = {node.version.asset: node.artifact is not None for node in answer.root.walk()}
    assert found == {"rollouts": True, "improved_policy": True, "initial_policy": False, "prm": True}
    assert any("initial_policy[0]" in line and "not in the store" in line for line in printed(answer))


def test_another_artifacts_damage_is_passed_over_and_told_where_it_may_matter(
    store: ArtifactStore, loop: dict[str, Artifact]
) -> None:
    (loop["rollouts2"].path / "manifest.json").chmod(0o644)
    (loop["rollouts2"].path / "manifest.json").write_text("{}")
    upstream = lineage(store, "smoke", "prm", 1)
    assert upstream.versions() == [loop[name].version for name in ("prm1", "rollouts1", "pi0", "demos")]
    assert upstream.unread == ()
    downstream = lineage(store, "smoke", "prm", 1, direction="downstream")
    assert downstream.versions() == [loop[name].version for name in ("prm1", "pi1")]
    assert downstream.to_dict()["unread"] == [loop["rollouts2"].version.place]


def test_the_commit_is_told_once_where_all_agree_and_of_each_where_they_do_not(store: ArtifactStore) -> None:
    demos = make_recipe("demonstrations", 0)
    made = commit(store, replace(demos, code=replace(demos.code, git_commit="abcdef0123456789", dirty=True)))
    alone = lineage(store, "smoke", "demonstrations", 0)
    assert alone.to_dict()["root"]["code"]["git_commit"] == "abcdef0123456789"
    assert alone.commit() == "abcdef01 with edits"
    assert printed(alone)[0].endswith(f"{made.digest[:16]} bitwise")
    policy = make_recipe("initial_policy", 0, (made.as_input("demonstrations"),))
    commit(store, replace(policy, code=replace(policy.code, git_commit="1234567890", dirty=False)))
    both = lineage(store, "smoke", "initial_policy", 0)
    assert both.commit() is None
    assert [line.partition(" by ")[2] for line in printed(both)] == ["12345678 bitwise", "abcdef01 with edits bitwise"]


def test_json_tells_when_where_and_of_which_games(store: ArtifactStore) -> None:
    made = commit(store, make_recipe("rollouts", 1, config={"games_digest": "0" * 64}))
    root = lineage(store, "smoke", "rollouts", 1).to_dict()["root"]
    told = made.manifest
    assert (root["path"], root["started"], root["seconds"]) == (str(made.path), told.started, told.seconds)
    assert (root["games_digest"], root["dagster_run_id"], root["mlflow_run_id"]) == ("0" * 64, None, None)
    assert root["metrics"] == {"files": 1.0}


def printed(answer: Lineage) -> list[str]:
    page = StringIO()
    Console(file=page, width=100).print(text_tree(answer))
    return [line.rstrip() for line in page.getvalue().splitlines()]


def test_a_digest_that_names_none_or_several_is_an_error(store: ArtifactStore, loop: dict[str, Artifact]) -> None:
    with pytest.raises(ArtifactError, match="begins with 'nothing'; there are: "):
        lineage(store, "smoke", "rollouts", 1, "nothing")
    with pytest.raises(ArtifactError, match=loop["redone"].digest[:16]):
        lineage(store, "smoke", "rollouts", 1, "")
    with pytest.raises(ArtifactError, match="no current version"):
        lineage(store, "smoke", "eval_report", 1)


def test_the_text_tree(store: ArtifactStore, loop: dict[str, Artifact]) -> None:
    digest = {name: artifact.digest[:16] for name, artifact in loop.items()}
    assert printed(lineage(store, "smoke", "rollouts", 2)) == [
        f"smoke/rollouts[2] {digest['rollouts2']} bitwise",
        f"└── smoke/improved_policy[1] {digest['pi1']} as behaviour_policy bitwise",
        f"    ├── smoke/initial_policy[0] {digest['pi0']} as behaviour_policy bitwise",
        f"    │   └── smoke/demonstrations[1] {digest['demos']} bitwise",
        f"    └── smoke/prm[1] {digest['prm1']} bitwise",
        f"        └── smoke/rollouts[1] {digest['rollouts1']} bitwise",
        f"            └── smoke/initial_policy[0] {digest['pi0']} as behaviour_policy bitwise (see above)",
    ]


@pytest.mark.parametrize("direction", ["upstream", "downstream"])
def test_pictures_point_from_what_was_read_to_what_was_made(
    store: ArtifactStore, loop: dict[str, Artifact], tmp_path: Path, direction: Any
) -> None:
    answer = lineage(store, "smoke", "prm", 1, loop["prm1"].digest, direction)
    places = {version: (row, column) for version, (column, row) in layout(answer).items()}
    assert all(places[read] < places[made] for read, made in answer.edges())
    assert len(set(places.values())) == len(places)
    draw(answer, tmp_path / "lineage.png")
    assert (tmp_path / "lineage.png").read_bytes().startswith(b"\x89PNG")
