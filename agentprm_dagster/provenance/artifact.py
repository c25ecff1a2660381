"""One committed artifact, as the stages see it."""

from dataclasses import dataclass
from pathlib import Path

from agentprm_dagster.provenance.manifest import Input, Manifest, Version


@dataclass(frozen=True, slots=True)
class Artifact:
    """A version that is in the store."""

    manifest: Manifest
    path: Path
    """Its folder. In a remote store: the local copy, there once `ArtifactStore.get` has made it."""
    uri: str
    """Where the store keeps it: for metadata and links."""

    @property
    def digest(self) -> str:
        """The content's digest; Dagster's data version."""
        return self.manifest.digest

    @property
    def version(self) -> Version:
        """Which version of what it is."""
        return self.manifest.version

    def as_input(self, role: str) -> Input:
        """This artifact as another's input, read as `role`."""
        made = self.manifest
        return Input(role, made.experiment, made.asset, made.iteration, made.digest)
