"""OpenLineage events: what the standard requires of them, and one run for every artifact."""

from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.lineage import lineage
from agentprm_dagster.provenance.openlineage import events, run_id
from agentprm_dagster.provenance.store import ArtifactStore
from artifacts import commit, make_recipe

Event = dict[str, Any]


@pytest.fixture
def made(store: ArtifactStore) -> list[Artifact]:
    demos = commit(store, make_recipe("demonstrations", 0))
    policy = commit(store, make_recipe("initial_policy", 0, (demos.as_input("demonstrations"),)))
    both = (policy.as_input("behaviour_policy"), policy.as_input("reference"))
    return [demos, policy, commit(store, make_recipe("rollouts", 1, both))]


@pytest.fixture
def sent(store: ArtifactStore, made: list[Artifact]) -> list[Event]:
    return list(events(lineage(store, "smoke", "rollouts", 1)))


def facets(value: Any) -> list[Event]:
    """All facets in an event, wherever they are."""
    if isinstance(value, list):
        return [facet for each in value for facet in facets(each)]
    if not isinstance(value, dict):
        return []
    own = [facet for key, each in value.items() if key.lower().endswith("facets") for facet in each.values()]
    return own + [facet for key, each in value.items() if key != "agentprm_manifest" for facet in facets(each)]


def test_every_artifact_is_the_output_of_a_run_that_starts_and_completes(
    sent: list[Event], made: list[Artifact]
) -> None:
    runs = [(event["run"]["runId"], event["eventType"]) for event in sent]
    assert runs == [(run_id(each.version), kind) for each in made for kind in ("START", "COMPLETE")]
    done = [event for event in sent if event["eventType"] == "COMPLETE"]
    outputs = [(out["name"], out["facets"]["version"]["datasetVersion"]) for event in done for out in event["outputs"]]
    assert outputs == [(each.version.partition.place, each.digest) for each in made]


def test_inputs_are_the_outputs_of_others_each_once(sent: list[Event], made: list[Artifact]) -> None:
    *_, rollouts = sent
    (read,) = rollouts["inputs"]
    assert (read["namespace"], read["name"]) == ("agentprm", "smoke/initial_policy/0")
    assert read["facets"]["version"]["datasetVersion"] == made[1].digest
    assert rollouts["run"]["facets"]["agentprm_manifest"]["roles"].keys() == {"behaviour_policy", "reference"}


def test_what_the_standard_requires(sent: list[Event]) -> None:
    for event in sent:
        assert {"eventTime", "producer", "schemaURL", "run", "job"} <= event.keys()
        assert event["schemaURL"].startswith("https://openlineage.io/spec/2-")
        assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
        assert str(UUID(event["run"]["runId"])) == event["run"]["runId"]
        assert event["job"].keys() >= {"namespace", "name"}
        assert len(facets(event)) >= 5
        assert all({"_producer", "_schemaURL"} <= facet.keys() for facet in facets(event))


def test_sent_twice_they_are_the_same(store: ArtifactStore, sent: list[Event]) -> None:
    assert list(events(lineage(store, "smoke", "rollouts", 1))) == sent


def test_the_official_classes_take_them(sent: list[Event]) -> None:
    client = pytest.importorskip("openlineage.client.event_v2", reason="pip install openlineage-python")
    for event in sent:
        run = client.Run(event["run"]["runId"], facets=event["run"]["facets"])
        job = client.Job(event["job"]["namespace"], event["job"]["name"], facets=event["job"]["facets"])
        kind = client.RunState[event["eventType"]]
        client.RunEvent(eventType=kind, eventTime=event["eventTime"], run=run, job=job, producer=event["producer"])
