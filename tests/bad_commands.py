"""Command lines, environments and stores that nothing can be made of."""

import os
from collections.abc import Callable
from pathlib import Path

from agentprm_dagster.provenance.manifest import Code, Recipe
from agentprm_dagster.provenance.store import ArtifactStore
from bad_games import BAD_GAMES
from bad_inputs import BadInput, Prepare
from bad_settings import BAD_SETTINGS

LONG = "a" * 5000
NOT_TEXT = os.fsdecode(b"\xff\xfe")
HUGE = "9" * 30

USAGE: dict[tuple[str, ...], str] = {
    ("run",): "Missing argument 'EXPERIMENT'",
    ("run", "nosuch"): "no experiment 'nosuch'; there are: alfworld",
    ("run", "quickstat"): "no experiment 'quickstat'; nearest to it: quickstart",
    ("run", ""): "no experiment ''",
    ("run", LONG): "no experiment 'aaaa",
    ("run", NOT_TEXT): "no experiment",
    ("run", "../smoke"): "no experiment '../smoke'",
    ("run", "smoke.yaml"): "no experiment 'smoke.yaml'",
    ("run", "SMOKE"): "no experiment 'SMOKE'",
    ("run", "smoke", "quickstart"): "unexpected extra argument",
    ("run", "smoke", "--iterations", "0"): "--iterations",
    ("run", "smoke", "--iterations", "-1"): "--iterations",
    ("run", "smoke", "--iterations", "1.5"): "--iterations",
    ("run", "smoke", "--iterations", "two"): "--iterations",
    ("run", "smoke", "--iterations", "1001"): "--iterations",
    ("run", "smoke", "--iterations", HUGE): "--iterations",
    ("run", "smoke", "--iterations"): "requires an argument",
    ("run", "smoke", "--nosuch"): "No such option: --nosuch",
    ("run", "smoke", "--with", "nosuch"): "--with: no study 'nosuch'; there are: append, dagger, few_rollouts",
    ("run", "smoke", "--with", "../smoke"): "no study '../smoke'",
    ("run", "smoke", "--with", ""): "no study ''",
    ("run", "smoke", "--with", LONG): "no study 'aaaa",
    ("run", "smoke", "--with", NOT_TEXT): "--with: no study",
    ("run", "smoke", "--with", "steered", "--with", "steered"): "expected everything once, got steered, steered",
    ("run", "smoke", "--with", "tripwire"): "tripwire: kl needs measurements: every above 0 (tripwire.yaml, line 3)",
    ("run", "smoke", "--set", ""): "expected a setting and its value",
    ("run", "smoke", "--set", "prm.epochs"): "--set prm.epochs: expected a setting and its value",
    ("run", "smoke", "--set", "=1"): "--set =1: expected a setting and its value",
    ("run", "smoke", "--set", "prm..epochs=1"): "expected a setting and its value",
    ("run", "smoke", "--set", "seed=1"): "--seeds sets the seed",
    ("run", "smoke", "--set", "name=mine"): "expected a setting and its value",
    ("run", "smoke", "--set", "extends=mine"): "expected a setting and its value",
    ("run", "smoke", "--set", "llm.request" + ".a" * 5000 + "=1"): "expected a setting and its value",
    ("run", "smoke", "--set", "prm.epochs=many"): "got 'many': write a number such as 0.5 or 1e-3",
    ("run", "smoke", "--set", "prm.epochs=-1"): "(--set prm.epochs=-1)",
    ("run", "smoke", "--set", "prm.epoch=1"): "prm.epoch: no such setting; did you mean epochs? (--set prm.epoch=1)",
    ("run", "smoke", "--set", "prn.epochs=1"): "prn: no such setting; did you mean prm?",
    ("run", "smoke", "--set", "prm=1"): "(--set prm=1)",
    ("run", "smoke", "--set", "prm.epochs=["): "--set prm.epochs=[: its value is not valid YAML",
    ("run", "smoke", "--set", "prm.epochs=" + "[" * 3000): "its value is not valid YAML",
    ("run", "smoke", "--set", "model.name=" + NOT_TEXT): "its value is not valid YAML",
    ("run", "smoke", "--set", NOT_TEXT + "=1"): "expected a setting and its value",
    ("run", "smoke", "--set", "iterations=1", "--set", "iterations=2"): "got iterations, iterations",
    ("run", "smoke", "--seeds", ""): "--seeds: expected whole numbers, each once",
    ("run", "smoke", "--seeds", "0,1,0"): "got '0,1,0'",
    ("run", "smoke", "--seeds", "0 1"): "--seeds: expected whole numbers",
    ("run", "smoke", "--seeds", "-1"): "--seeds: expected whole numbers",
    ("run", "smoke", "--seeds", "4294967296"): "--seeds: expected whole numbers",
    ("run", "smoke", "--seeds", "1", "--set", "sft.epochs=0"): "(--set sft.epochs=0)",
    ("run", "smoke", "--set", "engine.kind=vllm"): "choose with --compute NAME or AGENTPRM_COMPUTE",
    ("run", "smoke", "--compute", "nosuch"): "no compute 'nosuch'; there are: cluster, gpu, gpu8, laptop",
    ("run", "smoke", "--compute", ""): "no compute ''",
    ("run", "smoke", "--compute", LONG): "no compute 'aaaa",
    ("run", "smoke", "--compute", NOT_TEXT): "no compute",
    ("run", "smoke", "--compute", "./nowhere.yaml"): "nowhere.yaml cannot be read",
    ("run", "smoke", "--compute", "."): "no compute '.'",
    ("run", "smoke", "--compute", "./"): "expected a file of settings",
    ("runn", "smoke"): "No such command 'runn'",
    ("report",): "Missing argument",
    ("plan", "nosuch"): "no experiment 'nosuch'",
    ("plan", "smoke", "--set", "nosuch=1"): "nosuch: no such setting",
    ("plan", "smoke", "--memory", "0"): "--memory",
    ("plan", "smoke", "--assume", "speed=3"): "--assume speed=3: expected one of games",
    ("plan", "paper_3b", "--set", "model.name=nobody/nothing"): "name a folder that has its config.json",
    ("report", "nosuch"): "no experiment 'nosuch'",
    ("report", "smoke", "--json", "x"): "unexpected extra argument",
    ("compare", "smoke", "nosuch"): "no experiment 'nosuch'",
    ("compare", "smoke"): "smoke has evaluated nothing yet",
    ("compare", "smoke", "quickstart"): "expected a policy that both have",
    ("costs", "nosuch"): "no experiment 'nosuch'",
    ("evaluate", "smoke"): "Missing option '--iteration'",
    ("evaluate", "smoke", "-i", "-1"): "--iteration",
    ("evaluate", "smoke", "-i", "x"): "--iteration",
    ("evaluate", "smoke", "-i", HUGE): "--iteration",
    ("evaluate", "smoke", "-i", "1", "--split", "test"): "--split",
    ("evaluate", "smoke", "-i", "1", "--split", "train_held_out"): "smoke has no games of train_held_out",
    ("evaluate", "smoke", "-i", "1", "--best-of", "0"): "--best-of",
    ("evaluate", "smoke", "-i", "1", "--best-of", HUGE): "--best-of",
    ("evaluate", "smoke", "-i", "1", "--max-steps", "0"): "--max-steps",
    ("evaluate", "smoke", "-i", "1", "--max-steps", HUGE): "--max-steps",
    ("evaluate", "smoke", "-i", "1", "--seed", "-1"): "--seed",
    ("evaluate", "smoke", "-i", "1", "--seed", HUGE): "--seed",
    ("evaluate", "smoke", "-i", "1", "--games", "nowhere"): "--games",
    ("evaluate", "smoke", "-i", "1", "--games", "file"): "--games",
    ("evaluate", "smoke", "-i", "1", "--compute", "nosuch"): "no compute 'nosuch'",
    ("evaluate", "smoke", "-i", "0"): "smoke/initial_policy[0] has no current version",
    ("evaluate", "smoke", "-i", "7"): "smoke/improved_policy[7] has no current version",
    ("watch", "smoke"): "Missing option '--iteration'",
    ("watch", "smoke", "-i", "1"): "smoke/eval_report[1] has no current version",
    ("watch", "smoke", "-i", "1", "--asset", "prm"): "--asset",
    ("watch", "smoke", "-i", "1", "--best-of", "0"): "--best-of",
    ("watch", "smoke", "-i", "1", "--html", "folder.png"): "is a directory",
    ("lineage", "smoke"): "Missing argument 'asset'",
    ("lineage", "smoke", "rollout"): "no asset 'rollout'; there are: demonstrations",
    ("lineage", "smoke", "../prm"): "no asset '../prm'",
    ("lineage", "smoke", NOT_TEXT): "no asset",
    ("lineage", "smoke", "behaviour_policy", "-i", "1"): "is kept under what made it",
    ("lineage", "smoke", "prm", "-i", "1"): "smoke/prm[1] has no current version",
    ("lineage", "smoke", "prm", "-i", "1", "--digest", "zzz"): "whose digest begins with 'zzz'",
    ("lineage", "smoke", "prm", "-i", HUGE): "--iteration",
    ("lineage", "smoke", "prm", "--picture", "x.xyz"): ".png, .svg, .pdf",
    ("lineage", "smoke", "prm", "--picture", "nowhere/x.png"): "in a folder that is there",
    ("lineage", "smoke", "prm", "--picture", "folder.png"): "is a directory",
    ("lineage", "smoke", "prm", "--picture", "file/x.png"): "in a folder that is there",
    ("verify",): "there are no artifacts in",
    ("verify", "smoke"): "unexpected extra argument",
    ("play",): "Missing argument 'game'",
    ("play", "nosuch"): "nosuch",
    ("play", ""): "no game ''",
    ("play", LONG): "File name too long",
    ("play", NOT_TEXT): "found none",
    ("play", "file"): "expected a JSON object",
    ("play", "."): "no game '.'",
    ("play", "../../../etc/passwd"): "passwd",
    ("play", "file", "--engine", "thor"): "--engine",
    ("play", "file", "--engine", "alfworld"): "expected a JSON object",
    ("play", "file", "--commands", "nowhere"): "--commands",
    ("play", "file", "--commands", "folder.png"): "--commands",
    ("play", "file", "--commands", "latin"): "expected commands in UTF-8",
    ("ui", "--dagster-port", "0"): "--dagster-port",
    ("ui", "--dagster-port", "99999"): "--dagster-port",
    ("ui", "--mlflow-port", "-1"): "--mlflow-port",
    ("ui", "--mlflow-port", "http"): "--mlflow-port",
    ("games",): "Usage",
    ("games", "lst"): "No such command 'lst'",
    ("games", "list", "--dir", "nowhere"): "nowhere/json_2.1.1, found none",
    ("games", "list", "--dir", "file"): "file/json_2.1.1, found none",
    ("games", "list", "--dir", "file/sub"): "file/sub/json_2.1.1, found none",
    ("games", "list", "--dir", NOT_TEXT): "found none",
    ("games", "list", "--dir", LONG): "File name too long",
    ("games", "generate"): "Missing option '--dir'",
    ("games", "generate", "--dir", "file"): "is a file",
    ("games", "generate", "--dir", "file/sub"): "/sub: Not a directory",
    ("games", "generate", "--dir", "file/sub/sub"): "Not a directory",
    ("games", "generate", "--dir", LONG): "File name too long",
    ("games", "generate", "--dir", "new", "--seed", "-1"): "--seed",
    ("games", "generate", "--dir", "new", "--seed", HUGE): "--seed",
    ("games", "generate", "--dir", "new", "--seed", "0x"): "--seed",
    ("games", "generate", "--dir", "new", "--train", "-6"): "--train",
    ("games", "generate", "--dir", "new", "--train", HUGE): "--train",
    ("games", "generate", "--dir", "new", "--train", "3"): "at least 6 train games",
    ("games", "generate", "--dir", "new", "--train", "0"): "at least 6 train games",
    ("games", "generate", "--dir", "new", "--train", "0", "--valid-seen", "0", "--valid-unseen", "0"): "at least one",
    ("games", "generate", "--dir", "new", "--size", "huge"): "--size",
    ("games", "generate", "--dir", "occupied"): "holds tasks that were not generated",
    ("games", "generate", "--dir", "other", "--train", "6"): "holds tasks generated with",
    ("games", "generate", "--dir", "garbled"): "holds tasks generated with {, asked for",
    ("games", "generate", "--dir", "locked"): ".generate.lock: Is a directory",
    ("games", "download", "--dir", "file"): "is a file",
}
"""Command lines, in the folder that `_furnish` makes, and what is said to them."""

HOMES = {
    "a file": "{here}/file",
    "below a file": "{here}/file/home",
    "nobody's": "~nosuchuser/agentprm",
    "not text": "{here}/" + NOT_TEXT,
    "too long": "{here}/" + "a" * 300,
}
"""What AGENTPRM_HOME names."""

VARIABLES = {
    "AGENTPRM_SAVE_SECONDS": (("soon", "-1", "nan", "inf", "1,5", "2 minutes"), "expected a number of seconds"),
    "AGENTPRM_PRODUCTS": (("float16", "bf16", "FLOAT32", "0"), "expected float32 or bfloat16"),
}
"""Other variables, what they cannot be, and what is said to it."""

HOME_COMMANDS = (
    ("run", "smoke"), ("report", "smoke"), ("compare", "smoke"), ("costs", "smoke"), ("verify",),
    ("lineage", "smoke", "prm"), ("evaluate", "smoke", "-i", "0"),
)  # fmt: skip

EXPERIMENTS = {
    "nowhere": ("{here}/nowhere", "which is not a folder"),
    "a file": ("{here}/file", "which is not a folder"),
    "two, one of them nowhere": ("{here}/experiments:{here}/nowhere", "which is not a folder"),
    "not text": ("{here}/" + NOT_TEXT, "which is not a folder"),
    "nobody's": ("~nosuchuser/experiments", "which is not a folder"),
    "a taken name": ("{here}/taken", "two experiments are called smoke"),
}
"""What AGENTPRM_EXPERIMENTS names, and what is said to it."""

DAGSTER = {
    "garbled settings": {"home/dagster/dagster.yaml": "{{{"},
    "unknown settings": {"home/dagster/dagster.yaml": "nosuch: 1"},
    "settings that are a list": {"home/dagster/dagster.yaml": "[1]"},
    "garbled records": {"home/dagster/dagster.yaml": "", "home/dagster/history/runs.db": "no database " * 500},
}
"""Files of Dagster's own, and what is in them."""

NAMES = ("config", "class", "input", "Tried", "1st", "two words", "a-b", "a" * 101, "tré")
"""Names of files that no experiment may have."""


def _furnish(folder: Path) -> None:
    for name in ("folder.png", "occupied/json_2.1.1", "other", "garbled", "locked/.generate.lock", "taken", "mine"):
        (folder / name).mkdir(parents=True)
    (folder / "file").write_text("no JSON", encoding="utf-8")
    (folder / "latin").write_bytes("öffne".encode("latin-1"))
    (folder / "other" / "generated.json").write_text('{"seed": 1}', encoding="utf-8")
    (folder / "garbled" / "generated.json").write_text("{", encoding="utf-8")
    for name in ("other", "garbled", "occupied"):
        (folder / name / ".generate.lock").touch()
    (folder / "taken" / "smoke.yaml").touch()
    (folder / "mine" / "mine.yaml").touch()


def _instead_of_settings(make: Callable[[Path], object]) -> Prepare:
    return lambda folder: make(folder / "experiments" / "tried.yaml")


ODD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (Path.mkdir, "expected a file of settings"),
    "a pipe": (os.mkfifo, "expected a file of settings"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "cannot be read"),
    "a link to itself": (lambda path: path.symlink_to(path), "cannot be read"),
}
"""What lies where an experiment's file would, and what is said to it."""


def committed(folder: Path, experiment: str = "smoke") -> Path:
    """Puts an experiment's artifact into the folder's store; the folder of its version."""
    store = ArtifactStore(folder / "home" / "artifacts")
    code = Code(version="0.1.0", source="0" * 64, git_commit=None, dirty=None)
    with store.draft(Recipe(experiment, "initial_policy", 0, (), {}, code, {"stage": 0})) as draft:
        (draft.path / "policy.json").write_text("1", encoding="utf-8")
        made = draft.commit(metrics={"skill": 1.0})
    place = Path(made.path)
    for path in (place, *place.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return place


def _damaged(damage: Callable[[Path], object]) -> Prepare:
    return lambda folder: damage(committed(folder))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a manifest cut short": (lambda place: (place / "manifest.json").write_text('{"schema": '), "manifest.json"),
    "an empty manifest": (lambda place: (place / "manifest.json").write_text(""), "manifest.json"),
    "a manifest of 100,000 levels": (lambda place: (place / "manifest.json").write_text("[" * 10**5), "manifest.json"),
    "a manifest that is a list": (lambda place: (place / "manifest.json").write_text("[]"), "manifest.json"),
    "no text for a manifest": (lambda place: (place / "manifest.json").write_bytes(b"\xff"), "manifest.json"),
    "no manifest": (lambda place: (place / "manifest.json").unlink(), "expected a manifest.json"),
    "a changed file": (lambda place: (place / "policy.json").write_text("2"), "policy.json"),
    "a missing file": (lambda place: (place / "policy.json").unlink(), "policy.json"),
    "a file more": (lambda place: (place / "more.json").write_text("2"), "more.json"),
    "no digest for a HEAD": (lambda place: (place.parent / "HEAD").write_text("zzz"), "expected a digest"),
    "an empty HEAD": (lambda place: (place.parent / "HEAD").write_text(""), "expected a digest"),
    "another HEAD": (lambda place: (place.parent / "HEAD").write_text("0" * 64), "expected a manifest.json"),
}
"""How an artifact is damaged, and what is said of it when its policy is to be played."""

COMMANDS = (
    *(BadInput(f"usage: {' '.join(argv)[:60]}", argv, (word,), prepare=_furnish) for argv, word in USAGE.items()),
    *(
        BadInput(f"home {name}: {argv[0]}", argv, ("AGENTPRM_HOME", "expected the path of a folder"), {}, _furnish, env)
        for name, env in ((name, {"AGENTPRM_HOME": place}) for name, place in HOMES.items())
        for argv in HOME_COMMANDS
    ),
    *(
        BadInput(f"{name} {value}", ("run", "smoke"), (name, word), {}, _furnish, {name: value})
        for name, (values, word) in VARIABLES.items()
        for value in values
    ),
    *(
        BadInput(f"experiments {name}: {command}", (command, "smoke"), (word,), {}, _furnish, env)
        for name, env, word in ((n, {"AGENTPRM_EXPERIMENTS": place}, word) for n, (place, word) in EXPERIMENTS.items())
        for command in ("run", "report")
    ),
    *(
        BadInput(
            f"an experiment of two files: {command}",
            (command, "mine"),
            ("two experiments are called mine",),
            {},
            _furnish,
            {"AGENTPRM_EXPERIMENTS": "{here}/mine:{here}/mine"},
        )
        for command in ("run", "report")
    ),
    *(
        BadInput(f"an experiment called {name}", ("run", name), ("name: ",), {f"experiments/{name}.yaml": "seed: 1"})
        for name in NAMES
    ),
    *(
        BadInput(f"settings in {name}", ("run", "tried"), ("tried.yaml", word), prepare=_instead_of_settings(make))
        for name, (make, word) in ODD_FILES.items()
    ),
    *(
        BadInput(f"dagster: {name}", ("run", "smoke"), ("home/dagster: expected Dagster's settings",), files)
        for name, files in DAGSTER.items()
    ),
    *(
        BadInput(f"store: {name}", ("evaluate", "smoke", "-i", "0"), (word,), prepare=_damaged(damage))
        for name, (damage, word) in DAMAGE.items()
    ),
)

BAD_INPUTS = (*BAD_SETTINGS, *BAD_GAMES, *COMMANDS)
"""All of them."""

PARTITIONS = ("", " ", "0", "01", "1 ", " 1", "+1", "-1", "1.0", "1e0", "0x1", "abc", "١", "１", "1_0", "latest", HUGE)
"""Names of partitions that are no iteration's."""
