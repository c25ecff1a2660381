"""Which experiments Dagster shows."""

from os import environ

from agentprm_dagster.config.catalog import Catalog, ExperimentError, experiment_files, load_catalog
from agentprm_dagster.provenance.store import ArtifactStore

_ALWAYS = ("quickstart", "smoke")


def chosen_experiments(store: ArtifactStore) -> Catalog:
    """The quickstart, the smoke test, what has artifacts in the store, and what AGENTPRM_LOAD names.

    AGENTPRM_LOAD separates names by commas. Those that cannot be read are among the catalog's errors.
    """
    asked = [name for part in environ.get("AGENTPRM_LOAD", "").split(",") if (name := part.strip())]
    known = experiment_files()
    run: list[str] = []
    lost: list[str] = []
    for name in store.experiments():
        (run if name in known else lost).append(name)
    experiments, errors = load_catalog(dict.fromkeys((*_ALWAYS, *run, *asked)))
    if lost:
        errors.append(
            ExperimentError(
                f"{store.root} has artifacts of {', '.join(lost)}, and there is no experiment of such a name: name the "
                "folder of its YAML in AGENTPRM_EXPERIMENTS, or remove the artifacts"
            )
        )
    return Catalog(experiments, errors)
