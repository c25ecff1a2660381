"""Where links to MLflow lead. (tests/tracking holds what is written there.)"""

import pytest

from agentprm_dagster.resources.tracker import MLFLOW_UI, MlflowTracker


def test_links_lead_where_the_pages_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv(MLFLOW_UI, raising=False)
    assert MlflowTracker().url("abc") == "http://127.0.0.1:5000/#/runs/abc"
    monkeypatch.setenv(MLFLOW_UI, "http://127.0.0.1:5310/")
    assert MlflowTracker().url("abc") == "http://127.0.0.1:5310/#/runs/abc"
    assert MlflowTracker(uri="http://mlflow.example").url("abc") == "http://mlflow.example/#/runs/abc"
