"""vLLM servers on the nodes of a real Ray cluster; the servers are pretended."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentprm_dagster.cluster.connection import ClusterError
from agentprm_dagster.engine.vllm import kind
from agentprm_dagster.engine.vllm.server import VllmError
from clusters import Cluster, cluster
from pretended import Pretended, asked, eventually, expected

pytestmark = pytest.mark.ray


@pytest.fixture
def two_nodes(pretended: Pretended) -> Iterator[Cluster]:
    """Whose environment has the pretended vLLM."""
    with cluster() as started:
        yield started


def test_servers_on_two_nodes_are_asked_and_one_whose_node_is_lost_is_started_again(
    two_nodes: Cluster, pretended: Pretended, policy_folder: Path
) -> None:
    settings = pretended.settings(launch="ray", replicas=2)
    with closing(kind.load(policy_folder, "policy", settings)) as model:
        assert asked(model, settings, 8) == expected(8)
        assert len(pretended.running()) == 4, "a server with a process of its own on each node, which has one core"
        assert {each["host"] for each in pretended.started()} == {"127.0.0.1"}
        pretended.kill(model.name)
        assert eventually(lambda: any(server.ended for server in model.servers))
        assert asked(model, settings, 8) == expected(8)
        for server in model.servers:
            server.wait(60)
        two_nodes.nodes[1].kill()
        assert eventually(lambda: any(server.ended for server in model.servers))
        assert asked(model, settings, 8) == expected(8)
        two_nodes.start()
        assert asked(model, settings, 2) == expected(2)
        assert eventually(lambda: len(pretended.running()) == 4)
    assert pretended.all_ended()


def test_no_room_is_told(two_nodes: Cluster, pretended: Pretended, policy_folder: Path) -> None:
    settings = pretended.settings(launch="ray", replicas=3, start_seconds=20)
    with pytest.raises(VllmError, match="no node had room for a vLLM server for 20 s: the cluster has "):
        kind.load(policy_folder, "policy", settings)


def test_no_cluster_is_told(pretended: Pretended, policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ClusterError, match="RAY_ADDRESS names no cluster"):
        kind.load(policy_folder, "policy", pretended.settings(launch="ray"))
