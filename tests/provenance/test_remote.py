"""A store behind a URI behaves as one on the disk; its commit is the manifest's upload."""

from pathlib import Path
from uuid import uuid4

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.lineage import lineage
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import verify
from artifacts import commit, make_recipe


@pytest.fixture
def remote(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(f"memory://{uuid4().hex}/artifacts", scratch=tmp_path)


FILES = {"data.json": b"{}", "deep/er/page.md": b"hello"}


def test_it_keeps_finds_and_announces(remote: ArtifactStore, tmp_path: Path) -> None:
    made = commit(remote, make_recipe("improved_policy"), FILES)
    assert made.uri == f"{remote.root}/smoke/improved_policy/1/{made.digest[:16]}"
    assert (made.path / "data.json").read_bytes() == b"{}", "a stage reads what it has just committed"
    assert remote.find(make_recipe("improved_policy")) == made
    assert remote.get("smoke", "improved_policy", 1, made.digest) == made
    assert (made.path / "deep/er/page.md").read_text() == "hello"
    remote.announce("smoke", 2, made)
    assert remote.resolve(remote.announced("smoke", 2)) == made
    assert commit(remote, make_recipe("improved_policy"), FILES) == made
    assert verify(remote).sound
    assert lineage(remote, "smoke", "improved_policy", 1).root.version == made.version


def test_it_gives_the_digest_that_a_local_store_gives(remote: ArtifactStore, store: ArtifactStore) -> None:
    assert commit(remote, make_recipe(), FILES).digest == commit(store, make_recipe(), FILES).digest


def test_another_machine_reads_what_was_committed(remote: ArtifactStore, tmp_path: Path) -> None:
    made = commit(remote, make_recipe(), FILES)
    elsewhere = ArtifactStore(str(remote.root), scratch=tmp_path / "other")
    copy = elsewhere.current("smoke", "rollouts", 1)
    assert copy.digest == made.digest
    assert copy.path.is_relative_to(tmp_path / "other")
    assert (copy.path / "data.json").read_bytes() == b"{}"


def test_another_experiment_adopts_what_was_committed(remote: ArtifactStore) -> None:
    made = commit(remote, make_recipe(), FILES)
    own = remote.reuse(make_recipe(experiment="relative"))
    assert own.digest == made.digest
    assert (remote.current("relative", "rollouts", 1).path / "deep/er/page.md").read_text() == "hello"


def test_an_upload_cut_short_is_no_version_and_is_completed_next_time(
    remote: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = MemoryFileSystem.put_file, 1

    def cut(fs: MemoryFileSystem, local: str, place: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError("connection lost")
        real(fs, local, place)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "put_file", cut)
        with pytest.raises(OSError, match="connection lost"):
            commit(remote, make_recipe(), FILES)
    assert remote.find(make_recipe()) is None
    assert [problem.kind for problem in verify(remote).problems] == ["incomplete"]
    made = commit(remote, make_recipe(), FILES)
    assert remote.current("smoke", "rollouts", 1) == made
    assert verify(remote).sound


def test_damage_is_found_there_and_in_the_copy(remote: ArtifactStore) -> None:
    made = commit(remote, make_recipe(), FILES)
    remote.resolve(made.as_input("x"))
    (made.path / "data.json").write_bytes(b"[]")
    with pytest.raises(ArtifactError, match=r"changed data\.json"):
        remote.resolve(made.as_input("x"))
    (remote.root / made.version.place / "data.json").write_bytes(b"[]")
    assert [(problem.kind, problem.detail) for problem in verify(remote).problems] == [("changed", "data.json")]


def test_a_remote_store_needs_a_local_folder() -> None:
    with pytest.raises(ValueError, match=r"memory://x.*scratch"):
        ArtifactStore("memory://x")


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_local_folder_may_be_written_as_a_uri(tmp_path: Path, prefix: str) -> None:
    made = commit(ArtifactStore(f"{prefix}{tmp_path}"), make_recipe(), FILES)
    assert made.path == tmp_path / made.version.place
    assert made.uri == str(made.path)
