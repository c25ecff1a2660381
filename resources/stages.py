"""How every stage is run: found if it was made before, else made under a lock, judged, committed and announced."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import dagster as dg

from agentprm_dagster.config import Experiment
from agentprm_dagster.config.asked import AskedSettings, SettingError, picked
from agentprm_dagster.config.catalog import DEFAULT_COMPUTE, load_experiment
from agentprm_dagster.config.together import refuse_together
from agentprm_dagster.envs.base import EnvironmentKind, TaskRef
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.envs.settings import EnvironmentSettings
from agentprm_dagster.episodes.engine_difference import GATE as ENGINE_GATE
from agentprm_dagster.episodes.stage import SAVE_SECONDS, Monitor, Resume, StageReport
from agentprm_dagster.garbage import look_rarely
from agentprm_dagster.iterations import FIRST, announce, iteration_of
from agentprm_dagster.launch.gpus import gpus_used
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.on_ray.training import train_on_ray
from agentprm_dagster.launch.request import Request
from agentprm_dagster.launch.torchrun import train_together, write_request
from agentprm_dagster.provenance.agreement import MixedInputsError, find_conflict
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.code import current_code, edited_sources
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.lineage import with_ancestors
from agentprm_dagster.provenance.manifest import GAMES_DIGEST, Recipe
from agentprm_dagster.provenance.reproducible import GPU
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.unfinished import forget_unfinished, unfinished_folder
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.tracker import TrackerResource
from agentprm_dagster.stages.compute import UsedCompute
from agentprm_dagster.stages.decisions import ATTEMPT, attempt
from agentprm_dagster.stages.materialization import in_words, materialization
from agentprm_dagster.stages.modules import modules_of
from agentprm_dagster.stages.monitor import StageMonitor, conclude
from agentprm_dagster.stages.page import PAGE
from agentprm_dagster.stages.pinned import pin_compute, pin_settings

NUMBERS_TOLD = 4


Work = Callable[[Path, Monitor, Resume], StageReport]
"""Writes a stage's files into a folder and reports on them; long work is saved, and gone on from after a kill."""
Program = Callable[[Request, Job], StageReport]
"""A training: `train` of a module of `programs`."""


class StagesResource(dg.ConfigurableResource):
    """Everything an asset needs to run its stage."""

    artifacts: dg.ResourceDependency[ArtifactsResource]
    tracker: dg.ResourceDependency[TrackerResource]
    save_seconds: float = SAVE_SECONDS
    """How often long work is saved, so that an attempt that was killed is gone on from."""
    compute: str = DEFAULT_COMPUTE
    """Where and how models are computed: the name of a compute, or the path of its file."""

    def stage(self, context: dg.AssetExecutionContext) -> "Stage":
        """The stage that `context` is about: experiment by key prefix, asset by name, iteration by partition.

        Raises:
            PartitionError: the partition's name is no iteration's.
            EditedSettingsError: the settings are no longer those that the run began with.
            ExperimentError: experiment or compute are not there, not valid, or do not go together.
        """
        experiment, asset = context.asset_key.path
        iteration = iteration_of(context.partition_key) if context.assets_def.partitions_def else 0
        settings = load_experiment(experiment)
        pin_settings(context.instance, context.run.run_id, settings)
        compute = pin_compute(context.instance, context.run.run_id, self.compute)
        refuse_together(settings, compute)
        store = self.artifacts.store()
        tried = attempt(store, experiment, iteration) if iteration else 0
        return Stage(self, context, settings, asset, iteration, UsedCompute(compute), store, tried)


@dataclass
class Stage:
    """One asset of one iteration (0 where it has none) of one experiment."""

    resources: StagesResource
    context: dg.AssetExecutionContext
    _experiment: Experiment
    asset: str
    iteration: int
    compute: UsedCompute
    """Where and how models are computed: nothing of it is in the recipe, and what is used of it in the manifest."""
    store: ArtifactStore
    attempt: int = 0
    """How often this iteration was tried before, each time with another seed."""
    inputs: dict[str, Artifact] = field(default_factory=dict)
    """What was read so far, by role."""
    asked: set[str] | frozenset[str] = field(default_factory=set)
    """The settings that were handed out, and will be recorded."""
    others: list[str] = field(default_factory=list)
    """The GPUs that processes which this one has started have computed on."""

    @property
    def name(self) -> str:
        """As a person writes it: `prm[2]`, `initial_policy`."""
        return f"{self.asset}[{self.iteration}]" if self.iteration else self.asset

    @property
    def experiment(self) -> str:
        """The experiment's name."""
        return self._experiment.name

    @property
    def environment(self) -> EnvironmentSettings:
        """Which tasks are played; recorded by the digest of those that are, and as the code of its kind."""
        return self._experiment.environment

    @property
    def kind(self) -> EnvironmentKind:
        """The kind of that environment."""
        return kind_of(self.environment.kind)

    @property
    def experiment_seed(self) -> int:
        """The experiment's own, recorded beside the stage's."""
        return self._experiment.seed

    def settings(self, *names: str) -> Any:
        """All settings that were asked for so far: sections, and single values by dotted names (`gates.max_kl`).

        They are what is recorded. Reading another one is a SettingError, and so is asking when the recipe is written.
        """
        if isinstance(self.asked, frozenset):
            raise SettingError(f"{self.name} asks for {', '.join(names)} after its recipe was written: ask before")
        self.asked.update(names)
        return AskedSettings(self.name, frozenset(self.asked), self._experiment)

    def unrecorded(self, *names: str) -> Any:
        """Settings that decide nothing in what is made: what may be waited for or spent, which other stage is next."""
        return AskedSettings(self.name, frozenset(names), self._experiment)

    @property
    def seed(self) -> int:
        """A number below 2^31 that depends on the experiment's seed, the asset, the iteration and the attempt alone."""
        name = f"{self.experiment_seed}/{self.asset}/{self.iteration}{f'/{self.attempt}' if self.attempt else ''}"
        return int(sha256(name.encode()).hexdigest()[:8], 16) >> 1

    def read(
        self, asset: str, iteration: int | None = None, role: str | None = None, experiment: str | None = None
    ) -> Artifact:
        """The current version of another asset, of this experiment or another, read once and recorded as an input.

        Raises:
            ArtifactError: it was not made, is damaged, or did not pass its gates.
        """
        where = self.iteration if iteration is None else iteration
        return self._record(role or asset, self.store.current(experiment or self.experiment, asset, where))

    def behaviour_policy(self) -> Artifact:
        """The policy announced for this iteration; the version that the announcement names and no other.

        Raises:
            ArtifactError: none was announced, or what was announced is missing, damaged, or did not pass its gates.
        """
        announced = self.store.announced(self.experiment, self.iteration)
        return self._record(announced.role, self.store.resolve(announced))

    def refuse_other_games(self, role: str, games: Sequence[TaskRef]) -> None:
        """Refuses to go on where an input was played in other games than those that are there now.

        `games` are those that the input of this role should have been played in.

        Raises:
            MixedInputsError: a game has been edited since, or other games are drawn by the settings as they are now.
        """
        made = self.inputs[role].manifest
        if (played := made.config.get(GAMES_DIGEST)) != (now := self._digest(games)):
            raise MixedInputsError(
                f"{made.version} was played in the games of digest {str(played)[:16]}; the same games are now "
                f"{now[:16]}: files were edited or the settings draw others, so that its episodes cannot be played "
                f"again. {self._remedy}"
            )

    def make(
        self,
        work: Work,
        *,
        games: Sequence[TaskRef] = (),
        identity: Mapping[str, str] | None = None,
        then: Callable[[Artifact], None] = lambda made: None,
        code: Sequence[str] = (),
    ) -> dg.MaterializeResult:
        """Answers the version made from the same inputs, settings, games, code and seed before; otherwise makes it.

        `games` are those that are played, `identity` says what else it depends on that stands in no setting.
        `then` is done with it, made now or before; `code` are modules that the settings have chosen.

        Raises:
            MixedInputsError: the inputs were made from different versions of the same thing.
        """
        look_rarely()
        self._refuse_mixed_inputs()
        played = {GAMES_DIGEST: self._digest(games)} if games else {}
        modules = modules_of(self.asset, self.environment.kind, code, plays=bool(games))
        self.asked, values = frozenset(self.asked), self._experiment.model_dump(mode="json")
        recipe = self._recipe(modules, {**picked(values, self.asked), **played, **(identity or {})})
        with self.store.lock(self.experiment, self.asset, self.iteration):
            found = self.store.reuse(recipe, self.context.run.run_id)
            if found and self._was_another_engines_fault(found):
                found = None
            artifact = found or self._make(recipe, work, modules)
        self._conclude(artifact, made_before=found is not None)
        then(artifact)
        known = with_ancestors(self.store, artifact.version)
        page = self.resources.tracker.url(artifact.manifest.mlflow_run_id)
        return materialization(artifact, page, known, made_before=found is not None)

    def announce(self, iteration: int, policy: Artifact, by: str | None = None, why: str | None = None) -> None:
        """Makes a policy the behaviour policy of an iteration, if it has passed its gates (`iterations.announce`)."""
        if not policy.manifest.failed:
            report = self.context.log_event
            announce(self.context.instance, self.store, self.experiment, iteration, policy, report, by, why)

    def train(self, program: Program, *, games: Sequence[TaskRef] = (), **how: Any) -> dg.MaterializeResult:
        """`make` of a training, which is given what was read and asked for; the compute says where it runs."""

        def work(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
            request = self._request(program, games, out, resume)
            if request.training.launch == "process":
                return program(request, request.job(monitor))
            path = write_request(request)
            self.context.log.info(f"{request.training.processes} processes train: {path}")
            if request.training.launch == "ray":
                trained = train_on_ray(path, monitor)
            else:
                trained = train_together(path, request.training.processes, monitor)
            self.others += trained.gpus
            return trained.report

        return self.make(work, games=games, **how)

    def _request(self, program: Program, games: Sequence[TaskRef], out: Path, resume: Resume) -> Request:
        return Request(
            stage=self.name,
            program=program.__module__.rpartition(".")[2],
            experiment=self._experiment,
            asked=frozenset(self.asked),
            inputs={role: artifact.path for role, artifact in self.inputs.items()},
            tasks=tuple(games),
            seed=self.seed,
            training=self.compute.training,
            out=out,
            resume=resume.folder,
            save_seconds=resume.seconds,
        )

    def _used(self) -> dict[str, str]:
        """What a manifest says of the compute."""
        return self.compute.environment(artifact.path for artifact in self.inputs.values())

    def _was_another_engines_fault(self, found: Artifact) -> bool:
        """Whether it was played by an engine that was not the policy, and another one, or version, would play now."""
        disagrees = any(gate.name == ENGINE_GATE and not gate.passed for gate in found.manifest.gates)
        return disagrees and not self._used().items() <= found.manifest.environment.items()

    def _digest(self, games: Sequence[TaskRef]) -> str:
        return self.kind.digest(games)

    def _refuse_mixed_inputs(self) -> None:
        if conflict := find_conflict(self.store, self.inputs):
            raise MixedInputsError(
                f"{self.name} would be made from two versions of {conflict}. Each was made anew without what follows "
                f"from it. {self._remedy}"
            )

    @property
    def _remedy(self) -> str:
        """What brings the inputs of this stage together."""
        iterations = max(self.iteration, FIRST)
        return (
            f"`agentprm run {self.experiment} --iterations {iterations}` makes anew what is out of date, and "
            "nothing else; nothing was changed"
        )

    def _conclude(self, artifact: Artifact, *, made_before: bool) -> None:
        made = artifact.manifest
        numbers = ", ".join(f"{name} {in_words(value)}" for name, value in list(made.metrics.items())[:NUMBERS_TOLD])
        summary = "made before" if made_before else f"{made.seconds:9.0f} s  {numbers}"
        line = f"{self.name:20} {summary}"
        self.context.log.info(line)
        conclude(line)

    def _record(self, role: str, artifact: Artifact) -> Artifact:
        if failed := artifact.manifest.failed:
            raise ArtifactError(f"{artifact.version} did not pass its gates, so {self.asset} must not use it: {failed}")
        self.inputs[role] = artifact
        return artifact

    def _refuse_edits(self, modules: Sequence[str]) -> None:
        """The processes that a stage starts import the code that is there then, which must be what the recipe says."""
        if edited := edited_sources(*modules):
            raise ArtifactError(
                f"{', '.join(edited)} was edited since this run began, so that nobody can say which code made "
                f"{self.name}: nothing was committed. Run again; what was made before is found"
            )

    def _recipe(self, modules: Sequence[str], config: dict[str, Any]) -> Recipe:
        return Recipe(
            experiment=self.experiment,
            asset=self.asset,
            iteration=self.iteration,
            inputs=tuple(artifact.as_input(role) for role, artifact in self.inputs.items()),
            config=config,
            code=current_code(*modules),
            seeds={"experiment": self.experiment_seed, "stage": self.seed}
            | ({ATTEMPT: self.attempt} if self.attempt else {}),
        )

    def _make(self, recipe: Recipe, work: Work, modules: Sequence[str]) -> Artifact:
        self._refuse_edits(modules)
        with (
            self.store.draft(recipe) as draft,
            self.resources.tracker.run(recipe, self.context.run.run_id, self._experiment.description) as run,
        ):
            begun = unfinished_folder(self.store.work, recipe) / self.compute.folder
            resume = Resume(begun, self.resources.save_seconds)
            with gpus_used() as own:
                report = work(draft.path, StageMonitor(self.name, self.context.log.info, run), resume)
            self._refuse_edits((*modules, *self.compute.modules))
            gpus = [*own, *self.others]
            (draft.path / PAGE).write_text(report.preview, encoding="utf-8")
            artifact = draft.commit(
                metrics=report.metrics,
                gates=report.gates,
                used={**self._used(), **({GPU: ", ".join(gpus)} if gpus else {})},
                dagster_run_id=self.context.run.run_id,
                mlflow_run_id=run.id,
            )
            run.committed(artifact)
        forget_unfinished(self.store.work, artifact.version.partition)
        return artifact
