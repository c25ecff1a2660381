"""Do a bundle's records agree: manifests with each other, with the files that they list, and with the settings?"""

from collections.abc import Iterator

from upath import UPath

from agentprm_dagster.bundles.files import WORDS
from agentprm_dagster.bundles.findings import Check
from agentprm_dagster.bundles.opened import Opened
from agentprm_dagster.bundles.record import CARD, EVALUATION, POLICY, REWARD, ROLLOUTS, TARGETS, Part
from agentprm_dagster.config.asked import picked
from agentprm_dagster.provenance.contents import differences

_READ: tuple[tuple[Part, Part], ...] = (
    (EVALUATION, POLICY),
    (EVALUATION, REWARD),
    (POLICY, ROLLOUTS),
    (REWARD, TARGETS),
    (TARGETS, ROLLOUTS),
)
"""Which artifact of a bundle was made from which."""


def check_records(opened: Opened) -> Check:
    """Digests of manifests and of the artifacts' files, the lineage, the settings."""
    found = (*_digests(opened), *_files(opened), *_lineage(opened), *_settings(opened))
    return Check("records", f"{len(opened.manifests)} manifests", found)


def _digests(opened: Opened) -> Iterator[str]:
    for version, manifest in opened.manifests.items():
        for fault in manifest.faults():
            yield f"the manifest of {version}: {fault} does not follow from the rest of it"


def _files(opened: Opened) -> Iterator[str]:
    """How the artifacts' folders differ from their manifests; of the card in each no manifest says anything."""
    for part, version in opened.record.parts:
        for kind, path in differences(UPath(opened.folder / part), opened.manifests[version].files, record=CARD):
            yield f"{part}/{path} {WORDS[kind]}, by the manifest of {version}"


def _lineage(opened: Opened) -> Iterator[str]:
    contents, manifests = opened.record.contents, opened.manifests
    for version, manifest in manifests.items():
        for read in manifest.inputs:
            if read.version not in manifests:
                yield f"{version} was made from {read.version}, whose manifest is missing"
    there = [(reader, part) for reader, part in _READ if reader in contents and part in contents]
    for reader, part in there:
        if contents[part] not in {read.version for read in manifests[contents[reader]].inputs}:
            yield f"{reader} was not made from {contents[part]}, which lies in {part}"


def _settings(opened: Opened) -> Iterator[str]:
    """Settings that are not those that an artifact was made under, as far as its manifest records them."""
    experiment = opened.experiment
    values = experiment.model_dump(mode="json")
    for part, _ in opened.record.parts:
        made = opened.manifest(part)
        recorded = {name: value for name, value in made.config.items() if name.split(".")[0] in values}
        for name, value in recorded.items():
            try:
                now = picked(values, [name])[name]
            except (KeyError, TypeError):
                yield f"{part} was made under {name}, which is no setting"
                continue
            if now != value:
                yield f"{part} was made under {name} = {value!r}, and the settings say {now!r}"
        if (seed := made.seeds.get("experiment")) != experiment.seed:
            yield f"{part} was made under the seed {seed}, and the settings say {experiment.seed}"
        if made.iteration != opened.record.iteration:
            yield f"{part} is of iteration {made.iteration}, and the bundle of {opened.record.iteration}"
