"""An artifact while it is being made: a temporary folder that becomes a version, or nothing."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from math import isfinite
from os import link
from pathlib import Path
from time import monotonic

from agentprm_dagster.episodes.stage import Gate
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.canonical import digest_of
from agentprm_dagster.provenance.contents import describe
from agentprm_dagster.provenance.environment import environment
from agentprm_dagster.provenance.manifest import Adoption, Manifest, Recipe
from agentprm_dagster.provenance.reproducible import how_reproducible


class Draft:
    """Write files under `path`, then `commit`; a draft that is not committed is dropped."""

    def __init__(self, path: Path, recipe: Recipe, publish: Callable[[Path, Manifest], Artifact]) -> None:
        self.path = path
        self._recipe = recipe
        self._publish = publish
        self._environment = environment()
        self._started = datetime.now(UTC).isoformat(timespec="microseconds")
        self._clock = monotonic()

    def commit(
        self,
        *,
        metrics: Mapping[str, float],
        gates: tuple[Gate, ...] = (),
        used: Mapping[str, str] | None = None,
        dagster_run_id: str | None = None,
        mlflow_run_id: str | None = None,
    ) -> Artifact:
        """Makes the files a version, durably, and that version the current one.

        If the same content was committed before, that version is answered and nothing is written. A number that is
        not finite is recorded as None: it fails the gate that was made for it, and not the commit. `used` says what
        computed it, beside the environment of this process.

        Raises:
            ArtifactError: there are no files, or files that an artifact must not hold.
        """
        recipe, files = self._recipe, describe(self.path)
        around = {**self._environment, **(used or {})}
        manifest = Manifest(
            schema="agentprm-manifest-2",
            asset=recipe.asset,
            experiment=recipe.experiment,
            iteration=recipe.iteration,
            digest=recipe.digest(files),
            key=recipe.key,
            inputs=recipe.inputs,
            config=recipe.config,
            config_digest=digest_of(recipe.config),
            code=recipe.code,
            environment=around,
            seeds=recipe.seeds,
            files=files,
            metrics={name: _finite(value) for name, value in metrics.items()},
            gates=tuple(replace(gate, value=_finite(gate.value)) for gate in gates),
            dagster_run_id=dagster_run_id,
            mlflow_run_id=mlflow_run_id,
            started=self._started,
            seconds=round(monotonic() - self._clock, 3),
            adopted=None,
            reproducible=how_reproducible(recipe.config, around),
        )
        return self._publish(self.path, manifest)

    def adopt(self, made: Artifact, dagster_run_id: str | None = None) -> Artifact:
        """Commits what was made from the same recipe under another name, with everything that is said of it."""
        for entry in made.manifest.files:
            target = self.path / entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(made.path / entry.path, target)
        recipe, first = self._recipe, made.manifest.adopted
        adopted = Adoption(first.origin if first else made.version, self._started, dagster_run_id)
        manifest = replace(made.manifest, experiment=recipe.experiment, inputs=recipe.inputs, adopted=adopted)
        return self._publish(self.path, manifest)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and isfinite(value) else None


def _link(source: Path, target: Path) -> None:
    """The same bytes under a second name, or a copy where the filesystem cannot."""
    try:
        link(source, target)
    except OSError:
        shutil.copyfile(source, target)
