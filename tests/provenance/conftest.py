"""A store in a temporary folder."""

from pathlib import Path

import pytest

from agentprm_dagster.provenance.store import ArtifactStore


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")
