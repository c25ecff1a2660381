"""Random histories of the toy's loop in Dagster, against an oracle: what the kernel saw opened, and what is right.

Two experiments that share what they can; iterations run whole or stage by stage in any order, with changed settings,
edited games and deleted versions. Whatever succeeds was made of inputs that agree; everything else was refused.
"""

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import dagster as dg
import pandas as pd
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.stages import Stage, StagesResource, Work
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.commands.run import SILENT, failures, run_iteration
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.iterations import add_iterations, has_iteration
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.lineage import lineage
from agentprm_dagster.provenance.manifest import MANIFEST, AssetPartition, Recipe, Version
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import verify
from agentprm_dagster.stages.evaluations import current_reports, current_rows
from opened import opened
from toy import TOY, toy_definitions, toy_trainers

STAGES = ("demonstrations", "initial_policy", "rollouts", "mc_value_targets", "prm", "improved_policy", "eval_report")
EXPERIMENTS = ("toy", "twin")
SETTINGS = ("", "prm: {epochs: 7}\n", "improvement: {beta: 0.7}\n", "targets: {gamma: 0.5}\n", "seed: 1\n")
LAST = 2
PRM = "agentprm_dagster.training.process_reward_model"


class LoopHistory(RuleBasedStateMachine):
    """What somebody might click and edit, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.root = Path(self.folder.name)
        (self.root / "experiments").mkdir()
        self.patches: list[Any] = [
            patch.dict(
                os.environ,
                {
                    "AGENTPRM_HOME": str(self.root / "home"),
                    "AGENTPRM_EXPERIMENTS": str(self.root / "experiments"),
                },
            ),
            patch.object(StagesResource, "stage", self.begun(StagesResource.stage)),
            patch.object(Stage, "_make", self.watched(Stage._make)),
            patch.object(ArtifactStore, "reuse", self.reused(ArtifactStore.reuse)),
        ]
        for each in self.patches:
            each.start()
        # Not by `patch.dict`, which would also forget what is imported meanwhile.
        trainers = self.trainers()
        self.modules = {name: sys.modules.get(name) for name in trainers}
        sys.modules.update(trainers)
        self.definitions: dict[str, dg.Definitions] = {}
        for name in EXPERIMENTS:
            self.write(name, "")
        self.definitions = {name: toy_definitions(name) for name in EXPERIMENTS}
        self.instance = dg.DagsterInstance.ephemeral()
        for name in EXPERIMENTS:
            add_iterations(self.instance, name, 1)
        self.store = ArtifactsResource().store()
        self.read: dict[Version, frozenset[Version]] = {}
        """The oracle: the versions whose files were opened while each was made."""
        self.gone: set[Version] = set()
        self.watching = ExitStack()

    def teardown(self) -> None:
        """Asks about everything, and cleans up."""
        try:
            self.ask_about_everything()
        finally:
            self.watching.close()
            self.instance.dispose()
            for each in self.patches:
                each.stop()
            for name, module in self.modules.items():
                sys.modules.pop(name)
                if module is not None:
                    sys.modules[name] = module
            self.folder.cleanup()

    # What happens

    @rule(name=st.sampled_from(EXPERIMENTS), last=st.integers(1, LAST))
    def run(self, name: str, last: int) -> None:
        """`agentprm run`: succeeds whatever was done before, but where what it needs was deleted."""
        for iteration in range(1, last + 1):
            result = run_iteration(self.definitions[name], self.instance, name, iteration)
            assert result.success, list(failures(result))
        event("run")

    @rule(name=st.sampled_from(EXPERIMENTS), iteration=st.integers(1, LAST), asset=st.sampled_from(STAGES))
    def materialize(self, name: str, iteration: int, asset: str) -> None:
        """One asset alone, as by a click."""
        if not has_iteration(self.instance, name, iteration):
            return
        result = (
            self.definitions[name]
            .resolve_job_def(name)
            .execute_in_process(
                instance=self.instance,
                partition_key=str(iteration),
                asset_selection=[dg.AssetKey([name, asset])],
                run_config=SILENT,
                raise_on_error=False,
            )
        )
        words = " ".join(failures(result))
        event("made alone" if result.success else words.partition(":")[0])
        assert result.success or any(known in words for known in ("MixedInputsError", "ArtifactError")), words

    @rule(name=st.sampled_from(EXPERIMENTS), settings=st.sampled_from(SETTINGS))
    def edit_settings(self, name: str, settings: str) -> None:
        """The experiment's file says something else."""
        self.write(name, settings)

    @rule()
    def edit_a_game(self) -> None:
        """Some training game's walkthrough is another, by a look around."""
        for path in sorted((self.root / "home" / "games").rglob("train/*/*/game.tw-pddl"))[:1]:
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace('"walkthrough": [', '"walkthrough": ["look", ', 1), encoding="utf-8")

    @precondition(lambda self: self.present())
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """A version that is not a current one is removed by hand."""
        heads = {head for name in EXPERIMENTS for head in self.store.heads(name)}
        old = sorted(set(self.present()) - heads)
        if old:
            version = data.draw(st.sampled_from(old))
            shutil.rmtree(Path(str(self.store.root)) / version.place)
            self.gone.add(version)

    # What is asked

    def ask_about_everything(self) -> None:
        """Lineage both ways, `verify`, and that what is reported belongs together."""
        readers: dict[str, set[Version]] = defaultdict(set)
        there = {version: reads for version, reads in self.read.items() if version not in self.gone}
        for version, reads in there.items():
            for each in reads:
                readers[each.digest].add(version)
        for version in there:
            ask = (version.experiment, version.asset, version.iteration, version.digest)
            up, down = (lineage(self.store, *ask, direction) for direction in ("upstream", "downstream"))
            assert {each.digest for each in up.versions()} == closure(version, there) | {version.digest}
            behind, waiting = set[Version](), [version]
            while waiting:
                new = readers[waiting.pop().digest] - behind
                behind |= new
                waiting += new
            assert {each.digest for each in down.versions()} == {each.digest for each in behind} | {version.digest}
        problems = verify(self.store).problems
        assert self.gone or not problems, problems
        for name in EXPERIMENTS:
            if any(head.asset == "eval_report" for head in self.store.heads(name)):
                self.check_reports(name)

    def check_reports(self, name: str) -> None:
        """Each evaluated policy goes on from the one before, and was improved against the PRM that it is judged by."""
        previous = None
        for report in current_reports(self.store, name):
            policy = self.input(report, "improved_policy")
            assert self.input(report, "prm").digest == self.input(policy, "prm").digest
            if previous is not None:
                assert self.input(policy, "behaviour_policy").digest == previous.digest
            previous = policy
        assert {row["iteration"] for row in current_rows(self.store, name)} <= {0, 1, 2}

    def input(self, artifact: Artifact, role: str) -> Artifact:
        """What an artifact read in a role."""
        (read,) = (each for each in artifact.manifest.inputs if each.role == role)
        return self.store.read(self.store.root / read.version.place)

    # The oracle

    def begun(self, stage: Callable[..., Stage]) -> Callable[..., Stage]:
        """From when a stage begins, what is opened of the store is written down."""

        def watching(resource: StagesResource, context: dg.AssetExecutionContext) -> Stage:
            self.watching.close()
            root = Path(str(self.store.root))
            root.mkdir(parents=True, exist_ok=True)
            self.files = self.watching.enter_context(opened(root))
            self.stage = stage(resource, context)
            return self.stage

        return watching

    def watched(self, make: Callable[..., Artifact]) -> Callable[..., Artifact]:
        """What was opened until a stage was made is what its manifest says, and its inputs agree."""

        def making(stage: Stage, recipe: Recipe, work: Work, modules: Sequence[str]) -> Artifact:
            made = make(stage, recipe, work, modules)
            self.watching.close()
            root = Path(str(self.store.root))
            places = [path.relative_to(root).parts for path in self.files if path.name != MANIFEST]
            inputs = frozenset(read.version for read in made.manifest.inputs)
            versions = {"/".join(parts[:4]) for parts in places if len(parts) > 4 and not parts[0].startswith(".")}
            assert versions == {version.place for version in inputs}
            self.read[made.version] = inputs
            self.gone.discard(made.version)
            partitions: dict[AssetPartition, set[str]] = defaultdict(set)
            for version in self.everything(made.version):
                partitions[version.partition].add(version.digest)
            assert all(len(digests) == 1 for digests in partitions.values()), partitions
            return made

        return making

    def reused(self, reuse: Callable[..., Artifact | None]) -> Callable[..., Artifact | None]:
        """What was made before, under this name or another, was made of the same things."""

        def reusing(store: ArtifactStore, recipe: Recipe, *rest: Any) -> Artifact | None:
            if (found := reuse(store, recipe, *rest)) is not None:
                inputs = frozenset(read.version for read in found.manifest.inputs)
                opened_then = [reads for made, reads in self.read.items() if made.digest == found.version.digest]
                assert {digests(reads) for reads in opened_then} == {digests(inputs)}
                self.read[found.version] = inputs
                self.gone.discard(found.version)
            return found

        return reusing

    def everything(self, version: Version) -> set[Version]:
        """All versions that one was made from."""
        found, waiting = set[Version](), [version]
        while waiting:
            new = self.read.get(waiting.pop(), frozenset()) - found
            found |= new
            waiting += new
        return found

    def trainers(self) -> dict[str, Any]:
        """The toy's, of which the PRM's also computes each decision's target anew and compares."""
        modules = toy_trainers()
        train = modules[PRM].train_prm

        def checked(
            policy: Path, episodes: list[Episode], targets: pd.DataFrame, *how: Any, **rest: object
        ) -> StageReport:
            # Not the settings': they may have been edited since.
            settings: Any = self.stage.inputs["mc_value_targets"].manifest.config["targets"]
            right = mc_value_targets(
                episodes,
                gamma=settings["gamma"],
                held_out_games=0.15,
                seed=self.stage.experiment_seed,
            )
            keys = ["episode_id", "turn"]
            both = right.merge(targets, on=keys, suffixes=("", "_told"), how="outer", indicator=True)
            assert (both["_merge"] == "both").all(), "targets of other rollouts"
            assert (both["action"] == both["action_told"]).all()
            assert (both["q"] - both["q_told"]).abs().max() < 1e-9
            return train(policy, episodes, targets, *how, **rest)

        modules[PRM].train_prm = checked  # type: ignore[attr-defined]
        return dict(modules)

    def present(self) -> list[Version]:
        """What is in the store."""
        return sorted(version for version in self.read if version not in self.gone)

    def write(self, name: str, settings: str) -> None:
        """An experiment's file; the twin is the toy under another name."""
        (self.root / "experiments" / f"{name}.yaml").write_text(TOY + settings, encoding="utf-8")


def digests(versions: Iterable[Version]) -> frozenset[str]:
    """Their digests."""
    return frozenset(version.digest for version in versions)


def closure(version: Version, reads: dict[Version, frozenset[Version]]) -> set[str]:
    """The digests of everything that a version was made from."""
    found, waiting = set[Version](), [version]
    while waiting:
        new = reads.get(waiting.pop(), frozenset()) - found
        found |= new
        waiting += new
    return {each.digest for each in found}
