"""Where artifacts are kept, as a resource."""

from typing import Any

import dagster as dg

from agentprm_dagster.home import artifacts_root, scratch_folder
from agentprm_dagster.provenance.store import ArtifactStore


class ArtifactsResource(dg.ConfigurableResource[Any]):
    """The artifact store: `root`, else AGENTPRM_STORE, else under the home folder."""

    root: str = ""
    """A local folder, or a URI such as `s3://bucket/agentprm` whose filesystem fsspec knows; empty for the default."""

    def store(self) -> ArtifactStore:
        """The store, opened; drafts, locks and copies of a remote one lie under the home folder."""
        return ArtifactStore(self.root or artifacts_root(), scratch=scratch_folder())
