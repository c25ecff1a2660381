"""A bundle is foreign input: what no export writes is refused with a sentence, and nothing outside of it is read."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agentprm_dagster.bundles import bounded
from agentprm_dagster.bundles.bounded import require_table
from agentprm_dagster.bundles.check import check
from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.bundles.findings import DIFFERS, exit_code
from agentprm_dagster.bundles.record import BUNDLE
from agentprm_dagster.provenance.canonical import seal
from forging import rehash, set_score
from opened import opened

EPISODES = "evaluation/valid_seen-pi_1-best_of_1/episodes.parquet"


def reseal(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes `bundle.json` and gives it the checksum that it then has."""
    record = json.loads((folder / BUNDLE).read_text(encoding="utf-8"))
    record.pop("seal")
    change(record)
    (folder / BUNDLE).write_text(seal(record), encoding="utf-8")


RECORDS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a file above": (lambda r: r["files"][0].update(path="../../etc/passwd"), "plain relative path"),
    "a file from the root": (lambda r: r["files"][0].update(path="/etc/passwd"), "plain relative path"),
    "a folder above": (lambda r: r["contents"].update({"../policy": r["contents"]["policy"]}), "contents"),
    "an experiment above": (lambda r: r.update(experiment="../toy"), "experiment"),
    "no policy": (lambda r: r["contents"].pop("policy"), "names no policy"),
    "a text for a number": (lambda r: r.update(iteration="1"), "iteration"),
    "another format": (lambda r: r.update(format="agentprm-bundle-9"), "agentprm-bundle-1"),
    "an unknown key": (lambda r: r.update(run="me"), "run"),
}


@pytest.mark.parametrize(("change", "words"), RECORDS.values(), ids=RECORDS)
def test_records_that_name_what_is_no_bundle(
    bundle: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    reseal(bundle, change)
    with pytest.raises(BundleError, match=r"is no bundle: bundle\.json") as caught:
        list(check(bundle, play=False))
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["policy/secret.json", "evaluation/elsewhere"])
def test_links_are_refused_and_not_followed(bundle: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("hush")
    (bundle / name).symlink_to(outside / "secret" if name.endswith("json") else outside)
    with opened(outside) as files, pytest.raises(BundleError, match=f"a link or a device: {name}"):
        list(check(bundle, play=False))
    assert not files


def test_a_pipe_is_refused_and_not_waited_for(bundle: Path) -> None:
    (bundle / EPISODES).unlink()
    os.mkfifo(bundle / EPISODES)
    with pytest.raises(BundleError, match="a link or a device: evaluation/"):
        list(check(bundle, play=False))


def test_an_empty_folder_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is no bundle: bundle.json: expected a file bundle.json, found none"):
        list(check(tmp_path, play=False))


SETTINGS: dict[str, tuple[str, str]] = {
    "an unknown environment": ('environment: {"kind": "moon"}', "moon"),
    "a setting that is none": ('environment: {"kind": "alfworld", "run": "me"}', "run"),
    "an experiment to extend": ("extends: smoke", "extends"),
    "a tag": ("seed: !!python/object/apply:os.system [id]", "a tag"),
    "a text": ("just a text", "expected a mapping"),
    "a billion games": ('environment: {"kind": "alfworld", "train": 1000000000}', "train"),
}


@pytest.mark.parametrize(("line", "words"), SETTINGS.values(), ids=SETTINGS)
def test_settings_that_are_none(bundle: Path, line: str, words: str) -> None:
    (bundle / "experiment.yaml").write_text(f"{line}\n", encoding="utf-8")
    rehash(bundle)
    *_, last = check(bundle, play=False)
    assert last.name == "records"
    assert words in last.differences[0]
    assert last.not_done
    assert exit_code([last]) == DIFFERS


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("policy", "../../pi_0"),
        ("split", "../.."),
        ("ranked_by", "/etc"),
        ("n", 10**12),
        ("ci_low", "0"),
        ("world", "x"),
    ],
)
def test_rows_that_lead_elsewhere_or_are_none(bundle: Path, key: str, value: object) -> None:
    set_score(bundle, key, value)
    rehash(bundle)
    *_, last = check(bundle, play=False)
    assert last.differences[0].startswith("evaluation.json: expected score rows, but 0.")
    assert key in last.differences[0]


def test_brackets_without_end(bundle: Path) -> None:
    for name in ("games.json", "evaluation/evaluation.json"):
        text = (bundle / name).read_text(encoding="utf-8")
        (bundle / name).write_text("[" * 100_000, encoding="utf-8")
        rehash(bundle)
        *_, last = check(bundle, play=False)
        assert last.differences
        (bundle / name).write_text(text, encoding="utf-8")


SCHEMA = pa.schema({"text": pa.string(), "number": pa.float64()})


def written(folder: Path, **columns: pa.Array) -> Path:
    path = folder / "table.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_a_table_as_it_should_be(tmp_path: Path) -> None:
    require_table(written(tmp_path, text=pa.array(["a", "b"]), number=pa.array([0.5, 1.0])), SCHEMA)


def test_more_rows_than_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MOST_ROWS", 1)
    path = written(tmp_path, text=pa.array(["a", "b"]), number=pa.array([0.5, 1.0]))
    with pytest.raises(BundleError, match="expected at most 1 rows, got 2"):
        require_table(path, SCHEMA)


def test_a_small_file_that_unpacks_into_more_than_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MOST_UNPACKED", 10**7)
    path = written(tmp_path, text=pa.array(["a" * 10**5] * 1000), number=pa.array([0.0] * 1000))
    assert path.stat().st_size < 10**6
    with pytest.raises(BundleError, match="expected at most 10000000 bytes unpacked, got more"):
        require_table(path, SCHEMA)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"text": pa.array(["a"]), "number": pa.array(["1"])}, "the column number of double, got string"),
        ({"text": pa.array(["a"])}, "the column number of double, got none"),
        ({"text": pa.array([None], pa.string()), "number": pa.array([1.0])}, "a value in every row of text"),
        ({"text": pa.array(["a" * (2**20 + 1)]), "number": pa.array([1.0])}, "texts of at most 1048576 bytes"),
    ],
)
def test_columns_that_are_others(tmp_path: Path, columns: dict[str, pa.Array], words: str) -> None:
    with pytest.raises(BundleError, match=words):
        require_table(written(tmp_path, **columns), SCHEMA)


def test_what_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "table.parquet").write_bytes(b"PAR1" * 10)
    with pytest.raises(BundleError, match="expected a whole parquet file"):
        require_table(tmp_path / "table.parquet", SCHEMA)


def test_tables_of_other_types_are_named_by_every_check_that_reads_them(bundle: Path) -> None:
    table = pq.read_table(bundle / EPISODES)
    rewards = pa.array(list(map(str, table.column("reward").to_pylist())))
    pq.write_table(table.set_column(table.schema.get_field_index("reward"), "reward", rewards), bundle / EPISODES)
    rehash(bundle)
    by_name = {each.name: each.differences for each in check(bundle, play=False)}
    for name in ("replay", "scores"):
        assert any("the column reward of double, got string" in sentence for sentence in by_name[name])
