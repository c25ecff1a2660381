"""The journal: what was appended is there, whatever became of its writer."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentprm_dagster.provenance.errors import LockedError
from agentprm_dagster.provenance.journal import open_journal

WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from agentprm_dagster.provenance.journal import open_journal
with open_journal(Path(sys.argv[1]), "it", dict) as journal:
    journal.append({"n": 1})
    journal.append({"n": 2})
    os.kill(os.getpid(), signal.SIGKILL)
"""


def records(path: Path) -> list[dict[str, object]]:
    with open_journal(path, "it", dict) as journal:
        return journal.records


def test_a_killed_writer_leaves_its_records_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.jsonl"
    died = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, path], check=False).returncode
    assert died == -signal.SIGKILL
    assert records(path) == [{"n": 1}, {"n": 2}]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_cut_anywhere_leaves_whole_records(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)
    written = data.draw(st.lists(st.dictionaries(st.text(), st.text() | st.integers()), max_size=4))
    with open_journal(path, "it", dict) as journal:
        for record in written:
            journal.append(record)
    content = path.read_bytes()
    kept = content[: data.draw(st.integers(0, len(content)))]
    path.write_bytes(kept)
    assert records(path) == written[: kept.count(b"\n")]
    with open_journal(path, "it", dict) as journal:
        journal.append({"more": 1})
    assert records(path) == [*written[: kept.count(b"\n")], {"more": 1}]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with open_journal(path, "it", dict), pytest.raises(LockedError, match=f"it is being made by process {os.getpid()}"):
        records(path)


def counted(record: dict[str, object]) -> int:
    """A record's number; ValueError where it has none."""
    number = record.get("n")
    if not isinstance(number, int):
        raise ValueError("n: expected a number")
    return number


@pytest.mark.parametrize(
    "line",
    [b"{not json}", b"[1]", b"", b"\xff", b'{"n": null}', b'{"m": 1}', b"[" * 100_000, b'{"n": ' + b"1" * 5000 + b"}"],
    ids=["no JSON", "no object", "empty", "no UTF-8", "no number", "another record", "deep", "long"],
)
def test_a_line_that_is_no_record_is_set_aside_named_and_kept(
    tmp_path: Path, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"n": 1}\n' + line + b'\n{"n": 2}\n')
    with open_journal(path, "it", counted) as journal:
        assert (journal.records, journal.set_aside) == ([1, 2], [line])
        journal.append({"n": 3})
        assert journal.records == [1, 2, 3]
    (warning,) = caplog.messages
    assert warning.startswith(f"{path}, line 2: expected a record (")
    assert path.read_bytes() == b'{"n": 1}\n' + line + b'\n{"n": 2}\n{"n": 3}\n', "it stays in the file"


def test_what_is_no_record_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with open_journal(path, "it", counted) as journal:
        for record in ({"n": "1"}, {"n": None}, {}):
            with pytest.raises(ValueError, match="expected a number"):
                journal.append(record)
        assert journal.records == []
    assert path.read_bytes() == b""
