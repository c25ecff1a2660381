"""Random histories of an artifact store, against an oracle that writes down what every stage really read."""

import json
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from agentprm_dagster.provenance.agreement import find_conflict
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.lineage import lineage
from agentprm_dagster.provenance.manifest import MANIFEST, AssetPartition, Code, Recipe, Version
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import verify

CODE = Code("0.1.0", "0" * 64, None, None)

STAGES: Mapping[str, tuple[str, ...]] = {
    "demonstrations": (),
    "initial_policy": ("demonstrations@once",),
    "rollouts": ("behaviour_policy", "demonstrations@once"),
    "mc_value_targets": ("rollouts",),
    "prm": ("behaviour_policy", "rollouts", "mc_value_targets", "prm@before"),
    "improved_policy": ("behaviour_policy", "rollouts", "prm"),
    "eval_report": ("improved_policy", "prm"),
}
"""What each asset reads: of its own iteration, of the one before, or of what is made once."""

ONCE = ("demonstrations", "initial_policy")
POLICIES = ("initial_policy", "improved_policy")
EXPERIMENTS = ("one", "two")
LAST = 2
CONTENT = st.integers(0, 1)
"""What a stage that is not deterministic might make."""


class StoreHistory(RuleBasedStateMachine):
    """Two experiments make, redo, adopt, select, announce, delete and damage; every answer is the oracle's."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.store = ArtifactStore(Path(self.folder.name) / "store")
        self.read: dict[Version, frozenset[Version]] = {}
        """The oracle: what each version that is or was in the store was made from, as it was handed to its stage."""
        self.gone: set[Version] = set()
        self.damaged: set[Version] = set()
        self.unreadable: set[Version] = set()

    def teardown(self) -> None:
        """Asks about everything at the end of each history."""
        try:
            self.ask_about_everything()
        finally:
            self.folder.cleanup()

    # What happens

    @rule(experiment=st.sampled_from(EXPERIMENTS), last=st.integers(1, LAST), beta=st.integers(0, 1), content=CONTENT)
    def run(self, experiment: str, last: int, beta: int, content: int) -> None:
        """All stages of some iterations, one after the other, as `agentprm run` makes them: nothing is refused."""
        for iteration in range(1, last + 1):
            for asset in STAGES:
                if iteration > 1 and asset in ONCE:
                    continue
                made = self.made(self.partition(experiment, asset, iteration), beta, content)
                if made is not None and asset in POLICIES:
                    self.store.announce(experiment, made.version.iteration + 1, made)
                sound = not (self.damaged or self.gone)
                assert made is not None or not sound, f"{asset}[{iteration}] was refused"

    @rule(
        experiment=st.sampled_from(EXPERIMENTS),
        assets=st.lists(st.sampled_from(sorted(STAGES)), min_size=1, max_size=4),
        iteration=st.integers(1, LAST),
        beta=st.integers(0, 1),
        content=CONTENT,
    )
    def make(self, experiment: str, assets: list[str], iteration: int, beta: int, content: int) -> None:
        """A few stages alone, in any order, as somebody clicks them."""
        for asset in assets:
            self.made(self.partition(experiment, asset, iteration), beta, content)

    @rule(experiment=st.sampled_from(EXPERIMENTS), asset=st.sampled_from(sorted(STAGES)), beta=st.integers(0, 1))
    def redo(self, experiment: str, asset: str, beta: int) -> None:
        """One stage of iteration 1 is made anew with other settings, and each of the others is tried alone."""
        self.made(self.partition(experiment, asset, 1), beta, 0)
        for other in reversed(list(STAGES)):
            if other != asset:
                self.made(self.partition(experiment, other, 1), 1 - beta, 0)

    def partition(self, experiment: str, asset: str, iteration: int) -> AssetPartition:
        """Where a stage's versions lie."""
        return AssetPartition(experiment, asset, 0 if asset in ONCE else iteration)

    def made(self, partition: AssetPartition, beta: int, content: int) -> Artifact | None:
        """A stage reads its inputs and is made, found or adopted; None where it is refused."""
        try:
            inputs = self.inputs_of(partition)
        except ArtifactError:
            return None  # something it reads was not made, or is damaged
        conflict = find_conflict(self.store, inputs)
        event("inputs that do not agree" if conflict else "inputs that agree")
        assert (conflict is not None) == self.disagree(inputs), (partition, conflict)
        if conflict:
            assert self.of_several_versions(inputs, conflict.partition) == set(conflict.roles)
            return None
        reads = tuple(artifact.as_input(role) for role, artifact in inputs.items())
        recipe = Recipe(
            partition.experiment, partition.asset, partition.iteration, reads, {"beta": beta}, CODE, {"stage": 0}
        )
        try:
            made = self.store.reuse(recipe, "run")
        except ArtifactError:
            return None  # what was made before is damaged
        if made is None:
            with self.store.draft(recipe) as draft:
                (draft.path / "data.json").write_text(json.dumps({"x": content}))
                made = draft.commit(metrics={})
            assert made.manifest.adopted is None or made.version in self.read
        elif made.version not in self.read or made.version in self.gone:
            event("adopted")
            assert made.manifest.adopted is not None, "it was made by somebody"
            assert made.manifest.adopted.origin.digest == made.digest
            assert made.manifest.adopted.dagster_run_id == "run"
        self.store.resolve(made.as_input("any"))  # what is damaged is set aside where the same is made anew
        self.damaged.discard(made.version)
        self.unreadable.discard(made.version)
        reading = frozenset(artifact.version for artifact in inputs.values())
        assert self.read.setdefault(made.version, reading) == reading, "the same version, made from something else"
        self.gone.discard(made.version)
        return made

    @precondition(lambda self: self.present())
    @rule(data=st.data())
    def select(self, data: st.DataObject) -> None:
        """A version becomes the current one again."""
        version = data.draw(st.sampled_from(self.present()))
        try:
            self.store.select(self.store.get(version.experiment, version.asset, version.iteration, version.digest))
        except ArtifactError:
            assert version in self.damaged

    @precondition(lambda self: self.policies())
    @rule(data=st.data(), later=st.booleans())
    def announce(self, data: st.DataObject, later: bool) -> None:
        """A policy becomes the behaviour policy of the next iteration, or of the one behind that."""
        version = data.draw(st.sampled_from(self.policies()))
        try:
            policy = self.store.get(version.experiment, version.asset, version.iteration, version.digest)
        except ArtifactError:
            assert version in self.damaged
        else:
            self.store.announce(version.experiment, version.iteration + 1 + later, policy)

    @precondition(lambda self: self.present())
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """A version's folder is removed by hand."""
        version = data.draw(st.sampled_from(self.present()))
        shutil.rmtree(self.place(version))
        self.gone.add(version)
        self.damaged.discard(version)
        self.unreadable.discard(version)

    @precondition(lambda self: self.present())
    @rule(data=st.data(), manifest=st.booleans())
    def damage(self, data: st.DataObject, manifest: bool) -> None:
        """A file is replaced by another of the same size; other names of the same bytes keep them."""
        version = data.draw(st.sampled_from(self.present()))
        path = self.place(version) / (MANIFEST if manifest else "data.json")
        before = path.read_bytes()
        path.unlink()
        path.write_bytes(before.replace(b'"iteration": ', b'"iteratiom": ') if manifest else before.replace(b"x", b"y"))
        self.damaged.add(version)
        if manifest:
            self.unreadable.add(version)

    # What is asked

    def ask_about_everything(self) -> None:
        """Lineage both ways of every version that can be read, and what `verify` says of the store."""
        readable = {v: r for v, r in self.read.items() if v not in self.gone | self.unreadable}
        readers: dict[str, set[Version]] = defaultdict(set)
        for version, reads in readable.items():
            for each in reads:
                readers[each.digest].add(version)
        for version in readable:
            ask = (version.experiment, version.asset, version.iteration, version.digest)
            up, down = (lineage(self.store, *ask, direction) for direction in ("upstream", "downstream"))
            assert set(up.versions()) == self.closure(version, readable) | {version}
            behind, waiting = set[Version](), [version]
            while waiting:
                new = readers[waiting.pop().digest] - behind
                behind |= new
                waiting += new
            assert set(down.versions()) == behind | {version}
            for node in up.root.walk():
                assert (node.artifact is not None) == (node.version in readable)
            assert len(down.unread) == len(self.unreadable)
        found = verify(self.store)
        named = {problem.place for problem in found.problems}
        assert {version.place for version in self.damaged} <= named
        absent = {each for reads in readable.values() for each in reads} - readable.keys() - self.damaged
        assert {version.place for version in absent} <= named
        if not (self.damaged or self.gone):
            assert found.sound, found.problems

    # The oracle

    def inputs_of(self, partition: AssetPartition) -> dict[str, Artifact]:
        """What a stage is handed, by role; ArtifactError where something is not there or not as it was."""
        inputs: dict[str, Artifact] = {}
        for role in STAGES[partition.asset]:
            asset, _, when = role.partition("@")
            if asset == "behaviour_policy":
                inputs[role] = self.store.resolve(self.store.announced(partition.experiment, partition.iteration))
                continue
            iteration = {"": partition.iteration, "once": 0, "before": partition.iteration - 1}[when]
            if when != "before" or iteration:
                inputs[asset if when != "before" else f"previous_{asset}"] = self.store.current(
                    partition.experiment, asset, iteration
                )
        assert not {artifact.version for artifact in inputs.values()} & (self.damaged | self.gone)
        return inputs

    def disagree(self, inputs: Mapping[str, Artifact]) -> bool:
        """Whether some partition stands among the inputs and what they were made from in several versions."""
        partitions: dict[AssetPartition, set[Version]] = defaultdict(set)
        for version in self.family(inputs):
            partitions[version.partition].add(version)
        return any(len(versions) > 1 for versions in partitions.values())

    def of_several_versions(self, inputs: Mapping[str, Artifact], partition: AssetPartition) -> set[Version]:
        """The versions of one partition among the inputs and what they were made from."""
        return {version for version in self.family(inputs) if version.partition == partition}

    def family(self, inputs: Mapping[str, Artifact]) -> set[Version]:
        """The inputs and everything that the manifests still there say they were made from."""
        readable = {v: r for v, r in self.read.items() if v not in self.gone | self.unreadable}
        return {
            each
            for artifact in inputs.values()
            for each in (artifact.version, *self.closure(artifact.version, readable))
        }

    def closure(self, version: Version, reads: Mapping[Version, frozenset[Version]]) -> set[Version]:
        """Everything that a version was made from."""
        found, waiting = set[Version](), [version]
        while waiting:
            new = reads.get(waiting.pop(), frozenset()) - found
            found |= new
            waiting += new
        return found

    def present(self) -> list[Version]:
        """What is in the store, sound or not."""
        return sorted(version for version in self.read if version not in self.gone)

    def policies(self) -> list[Version]:
        """The policies among them."""
        return [version for version in self.present() if version.asset in POLICIES]

    def place(self, version: Version) -> Path:
        """A version's folder."""
        return Path(str(self.store.root)) / version.place
