"""Files that go to nodes and back, without a cluster: an object store that is a list, and messages that are one."""

import os
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentprm_dagster.cluster import files, parcels
from agentprm_dagster.cluster.files import Mirror, Piece, receive, send_folder
from agentprm_dagster.cluster.parcels import inside, pack, pack_folder, unpacked
from pretended import eventually

PARTS = st.text("abc.", min_size=1, max_size=3).filter(lambda name: set(name) != {"."})
NAMES = st.lists(PARTS, min_size=1, max_size=3)
FOLDERS = st.dictionaries(NAMES.map(lambda parts: "/".join((*parts, "file"))), st.binary(max_size=40), max_size=5)


@dataclass
class Store:
    """As Ray's object store, in this process."""

    held: list[bytes] = field(default_factory=list)

    def put(self, content: bytes) -> int:
        self.held.append(content)
        return len(self.held) - 1

    def get(self, reference: int) -> bytes:
        return self.held[reference]


def write(folder: Path, contents: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def read(folder: Path) -> dict[str, bytes]:
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.fixture(autouse=True)
def small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "_CHUNK", 7)
    monkeypatch.setattr(files, "_CHUNK", 7)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@given(FOLDERS)
@settings(deadline=None)
def test_a_folder_arrives_as_it_is(contents: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, store = Path(name) / "sent", Store()
        write(folder, contents)
        parcel = pack_folder(store, folder)
        assert read(unpacked(store, parcel)) == contents
        got, sent = Path(name) / "got", list[Piece]()
        got.mkdir()
        send_folder(sent.append, "made", folder)
        for piece in sent:
            receive(piece, {"made": got})
        assert read(got) == contents


def test_what_is_there_is_not_unpacked_again_and_what_is_old_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "sent", {"a": b"1"})
    store = Store()
    first = unpacked(store, pack_folder(store, tmp_path / "sent"))
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700
    (first / "a").write_bytes(b"as it was")
    assert unpacked(store, pack(store, {"a": tmp_path / "sent" / "a"})) == first
    assert (first / "a").read_bytes() == b"as it was"
    os.utime(first, (0, 0))
    second = unpacked(store, pack(store, {"b": tmp_path / "sent" / "a"}))
    assert [*first.parent.iterdir()] == [second]


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    store = Store()
    write(tmp_path / "sent", {"a": b"1"})
    parcel = pack_folder(store, tmp_path / "sent")
    folder = unpacked(store, parcel).parent
    shutil.rmtree(folder)
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(PermissionError, match="expected a folder that only this user can read and write"):
        unpacked(store, parcel)


@pytest.mark.parametrize("name", ["/etc/passwd", "../a", "a/../../b", ""])
def test_names_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected the name of a file within its folder"):
        inside(tmp_path, name)


def test_a_mirror_sends_what_changes_and_nothing_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LOOK_SECONDS", 0.01)
    here, there = tmp_path / "here", tmp_path / "there"
    write(here, {"before": b"was here"})
    there.mkdir()
    with Mirror(lambda piece: receive(piece, {"saved": there}), "saved", here):
        (here / "snapshot.new").write_bytes(b"not whole yet")
        (here / "snapshot").write_bytes(b"first, which is long")
        assert eventually(lambda: read(there) == {"snapshot": b"first, which is long"})
        (here / "snapshot.new").write_bytes(b"second")
        (here / "snapshot.new").replace(here / "snapshot")
        assert eventually(lambda: read(there) == {"snapshot": b"second"})
