"""Filesystems that keep no locks, sync no folders, or are full: what is refused, and what goes on without."""

import errno
import fcntl
import logging
import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from agentprm_dagster.provenance.durable import replace_text
from agentprm_dagster.provenance.errors import LockedError
from agentprm_dagster.provenance.filesystem import warn_once
from agentprm_dagster.provenance.owner import Owner
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import Verification, sweep, verify
from artifacts import commit, make_recipe

REFUSALS = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM]


@pytest.fixture(autouse=True)
def new_process() -> None:
    """Warnings are given once a process."""
    warn_once.cache_clear()


@pytest.fixture(params=REFUSALS, ids=errno.errorcode.get)
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every flock is refused."""

    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


def lock_file(store: ArtifactStore) -> Path:
    return store.work / "locks" / "smoke.prm.1.lock"


def test_without_locks_the_owners_name_decides(
    no_locks: None, store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    me = Owner.this_process()
    for dead in (replace(me, started="0"), replace(me, pid=2**22 + 1)):
        replace_text(lock_file(store), dead.to_json())
        with store.lock("smoke", "prm", 1):
            with pytest.raises(LockedError, match=f"process {me.pid}.*wait for it or stop it"):
                store.lock("smoke", "prm", 1).__enter__()
            assert sweep(store) == []
        assert not lock_file(store).exists()
    for unseen in (replace(me, boot="another"), replace(me, namespace="another")):
        replace_text(lock_file(store), unseen.to_json())
        with pytest.raises(LockedError, match=rf"another container.*gone for sure, remove {lock_file(store)}"):
            store.lock("smoke", "prm", 1).__enter__()
        assert sweep(store) == []
    for nobody in ("", "nonsense"):
        replace_text(lock_file(store), nobody)
        with store.lock("smoke", "prm", 1):
            pass
    made = commit(store, make_recipe())
    assert commit(store, make_recipe()) == made
    with store.draft(make_recipe(seed=1)):
        assert sweep(store) == []
    assert verify(store) == Verification(checked=1, problems=(), leftovers=(), reproducible={"bitwise": 1})
    assert len([record for record in caplog.records if "keeps no locks" in record.message]) == 1


def test_without_locks_a_killed_process_leaves_what_is_swept(no_locks: None, store: ArtifactStore) -> None:
    child = os.fork()
    if child == 0:
        with store.lock("smoke", "rollouts", 1), store.draft(make_recipe()):
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert len(verify(store).leftovers) == len(sweep(store)) == 2
    assert verify(store).leftovers == ()


def test_without_locks_one_of_many_takes_a_dead_owners_lock(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    replace_text(lock_file(store), replace(Owner.this_process(), started="0").to_json())
    answers, answer = os.pipe()
    wait, end = os.pipe()
    children = []
    for _ in range(8):
        children.append(os.fork())
        if children[-1] == 0:
            os.close(end)
            try:
                with store.lock("smoke", "prm", 1):
                    os.write(answer, b"1")
                    os.read(wait, 1)
            except LockedError:
                os.write(answer, b"0")
            os._exit(0)
    answered = sorted(os.read(answers, 1) for _ in children)
    os.close(end)
    for child in children:
        os.waitpid(child, 0)
    assert answered == [b"0"] * 7 + [b"1"]


@pytest.mark.parametrize("folders_only", [True, False])
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EBADF], ids=errno.errorcode.get)
def test_what_cannot_be_synced_is_committed_with_one_warning(
    store: ArtifactStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    folders_only: bool,
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) or not folders_only:
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    with caplog.at_level(logging.WARNING):
        made = commit(store, make_recipe())
        commit(store, make_recipe(seed=1))
    assert store.get("smoke", "rollouts", 1, made.digest) == made
    assert verify(store).sound
    assert ["sync" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_broken_or_full_disk_is_an_error(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fsync(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(OSError, match=os.strerror(number)):
        commit(store, make_recipe())


def test_a_full_filesystem_loses_the_new_and_keeps_the_old(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no filesystem can be mounted here")
    try:
        store = ArtifactStore(disk)
        old = commit(store, make_recipe(), {"data.json": b"x" * 50_000})
        with pytest.raises(OSError, match="No space left"):
            commit(store, make_recipe(seed=1), {"data.json": b"x" * 500_000})
        assert store.current("smoke", "rollouts", 1) == old
        assert verify(store) == Verification(checked=1, problems=(), leftovers=(), reproducible={"bitwise": 1})
        assert commit(store, make_recipe(seed=2), {"data.json": b"x" * 50_000}).digest != old.digest
    finally:
        subprocess.run(["umount", disk], check=True)


def test_what_is_made_is_for_this_user_alone(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "made" / "store")
    before = os.umask(0o022)
    try:
        made = commit(store, make_recipe("improved_policy"), {"sub/data.json": b"{}"})
        store.announce("smoke", 2, made)
        with store.lock("smoke", "prm", 1), store.draft(make_recipe()):
            found = [tmp_path / "made", *(tmp_path / "made").rglob("*")]
            assert [path for path in found if path.stat().st_mode & 0o077] == []
    finally:
        os.umask(before)
    assert len(found) > 15
    assert {path.stat().st_mode & 0o777 for path in made.path.rglob("*") if path.is_file()} == {0o400}
