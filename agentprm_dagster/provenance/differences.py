"""What differs between what made two artifacts: data, settings, code, versions, machine; from their manifests alone.

The two and all that they were made from are laid beside each other by asset and by how many iterations before the
artifact asked about: rollouts[1] of prm[1] beside rollouts[2] of prm[2].
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from agentprm_dagster.provenance.code import PACKAGE, changed_files
from agentprm_dagster.provenance.flat import flat
from agentprm_dagster.provenance.lineage import Lineage
from agentprm_dagster.provenance.manifest import GAMES_DIGEST, Code, Manifest
from agentprm_dagster.provenance.reproducible import GPU

Kind = Literal["data", "settings", "seeds", "code", "versions", "machine", "stage"]
Place = tuple[str, int]
"""An asset, and how many iterations before the one asked about; -1 where it has no iteration."""

MACHINE = ("processor", "products", GPU)
"""What of the environment is said of the machine, besides all with a dot in its name; the rest are versions."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same."""

    where: str
    """The stages that were compared: `prm[1], prm[2]`."""
    kind: Kind
    name: str
    one: str | None
    """None where there is no such thing."""
    other: str | None


@dataclass(frozen=True, slots=True)
class Differences:
    """All that differs between the makers of two artifacts."""

    found: tuple[Difference, ...]
    same: tuple[str, ...]
    """Stages that made exactly the same for both, of which nothing more is said."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def compare(one: Lineage, other: Lineage) -> Differences:
    """What differs, the two artifacts themselves first, then what they were made from, step by step back."""
    ones, others = _placed(one), _placed(other)
    found: list[Difference] = []
    same = []
    for place in dict.fromkeys([*ones, *others]):
        a, b = ones.get(place), others.get(place)
        if a is None or b is None:
            alone = [f"{made.version.partition} {made.digest[:16]}" if made else None for made in (a, b)]
            found.append(Difference("made for one of them alone", "stage", place[0], *alone))
        elif a.digest == b.digest:
            same.append(_name(a))
        else:
            found += _of_two(a, b)
    return Differences(tuple(found), tuple(same))


def _placed(lineage: Lineage) -> dict[Place, Manifest]:
    """The manifests in a lineage by place; of several versions in one place the one met first."""
    last = lineage.root.version.iteration
    places: dict[Place, Manifest] = {}
    for version, node in lineage.nodes().items():
        if node.made:
            back = last - version.iteration if version.iteration else -1
            places.setdefault((version.asset, back), node.made)
    return places


def _name(made: Manifest) -> str:
    return f"{made.asset}[{made.iteration}]" if made.iteration else made.asset


def _of_two(a: Manifest, b: Manifest) -> Iterator[Difference]:
    where = _name(a) if _name(a) == _name(b) else f"{_name(a)}, {_name(b)}"
    sides: Iterable[tuple[Kind, Mapping[str, str], Mapping[str, str]]] = (
        ("data", _data(a), _data(b)),
        ("settings", _settings(a), _settings(b)),
        ("seeds", flat(a.seeds), flat(b.seeds)),
        ("code", *_code(a, b)),
        ("versions", _environment(a, machine=False), _environment(b, machine=False)),
        ("machine", _environment(a, machine=True), _environment(b, machine=True)),
    )
    for kind, one, other in sides:
        for name in sorted(one.keys() | other.keys()):
            if one.get(name) != other.get(name):
                yield Difference(where, kind, name, one.get(name), other.get(name))


def _data(made: Manifest) -> dict[str, str]:
    """What was read, by role, and which games were played."""
    read = {each.role: f"{each.asset}[{each.iteration}] {each.digest[:16]}" for each in made.inputs}
    return {**read, **({"games": str(made.config[GAMES_DIGEST])[:16]} if GAMES_DIGEST in made.config else {})}


def _settings(made: Manifest) -> dict[str, str]:
    return flat({name: value for name, value in made.config.items() if name != GAMES_DIGEST})


def _code(a: Manifest, b: Manifest) -> tuple[dict[str, str], dict[str, str]]:
    """Of code that differs: the digests, the commits, and the files that git says were changed between these."""
    if (a.code.version, a.code.source) == (b.code.version, b.code.source):
        return {}, {}
    changed: Sequence[str] = ()
    if a.code.git_commit and b.code.git_commit:
        changed = changed_files(a.code.git_commit, b.code.git_commit, f"{PACKAGE}.assets.{a.asset}")

    def told(code: Code) -> dict[str, str]:
        commit = code.in_words or "outside a checkout"
        return {
            "package": code.version,
            "source": code.source[:16],
            "commit": commit,
            **dict.fromkeys(changed, f"at {commit}"),
        }

    return told(a.code), told(b.code)


def _environment(made: Manifest, *, machine: bool) -> dict[str, str]:
    """Versions of packages, or what is said of the machine and of where on it the stage ran."""
    return {
        name: value
        for name, value in made.environment.items()
        if (name in MACHINE or "." in name or name == "compute") == machine
    }
