"""A bundle that somebody has changed and then made to agree with itself again, as far as digests and cards go."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from agentprm_dagster.bundles.cards import write_cards
from agentprm_dagster.bundles.opened import lineage_place, open_bundle
from agentprm_dagster.bundles.record import BUNDLE, CARD, Bundle, Part
from agentprm_dagster.provenance.contents import describe
from agentprm_dagster.provenance.manifest import Manifest, Version


def record_of(folder: Path) -> Bundle:
    """What `bundle.json` says."""
    return Bundle.from_json((folder / BUNDLE).read_text(encoding="utf-8"))


def rehash(folder: Path, record: Bundle | None = None) -> None:
    """Lists every file in `bundle.json` as it is now."""
    record = record or record_of(folder)
    (folder / BUNDLE).unlink()
    (folder / BUNDLE).write_text(replace(record, files=describe(folder)).to_json(), encoding="utf-8")


def forge(folder: Path, part: Part) -> None:
    """Gives a changed artifact the digest that its files now have, and that digest to all that was made from it."""
    record = record_of(folder)
    manifests = open_bundle(folder, record).manifests
    files = tuple(entry for entry in describe(folder / part) if entry.path != CARD)
    forged = _forged({**manifests, record.contents[part]: replace(manifests[record.contents[part]], files=files)})
    for version in manifests:
        (folder / lineage_place(version)).unlink()
    for made in forged.values():
        path = folder / lineage_place(made.version)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made.to_json(), encoding="utf-8")
    record = replace(record, contents={name: forged[version].version for name, version in record.contents.items()})
    for card in (folder / CARD, *(folder / name / CARD for name in record.contents)):
        card.unlink()
    write_cards(open_bundle(folder, record))
    rehash(folder, record)


def _forged(manifests: Mapping[Version, Manifest]) -> dict[Version, Manifest]:
    """Every manifest with the digests that follow from it and from those that it read, by its old version."""
    done: dict[Version, Manifest] = {}

    def again(version: Version) -> Manifest:
        if version not in done:
            old = manifests[version]
            made = replace(old, inputs=tuple(replace(read, digest=again(read.version).digest) for read in old.inputs))
            done[version] = replace(made, key=made.recipe.key, digest=made.recipe.digest(made.files))
        return done[version]

    return {version: again(version) for version in manifests}


def set_cell(table: Path, column: str, row: int, value: Callable[[object], object]) -> None:
    """Changes one cell of a parquet file."""
    read = pq.read_table(table)
    cells = read.column(column).to_pylist()
    cells[row] = value(cells[row])
    place = read.schema.get_field_index(column)
    changed = read.set_column(place, read.schema.field(column), pa.array(cells, read.schema.field(column).type))
    pq.write_table(changed, table)


def set_score(folder: Path, key: str, value: object) -> None:
    """Changes one number of the first score row."""
    path = folder / "evaluation" / "evaluation.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    rows[0][key] = value
    path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
