"""Which runs `agentprm ui` cancels when it ends. (tests/e2e/test_reconcile.py holds what becomes of dead ones.)"""

import json
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import GRPC_INFO_TAG

from agentprm_dagster.stages.reconcile import cancel_runs


@pytest.mark.parametrize("server", [None, {"host": "localhost", "port": 4000}, {"socket": "/elsewhere"}])
def test_runs_that_others_have_launched_go_on(server: dict[str, object] | None, tmp_path: Path) -> None:
    @dg.job
    def job() -> None:
        pass

    tags = {GRPC_INFO_TAG: json.dumps(server)} if server else {}
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
        assert cancel_runs(instance, tmp_path / "code", 60) == []
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTED
