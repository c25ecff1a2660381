"""kill -9 before every single thing a commit does to the disk, full disks, and what is left afterwards."""

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import Verification, sweep, verify
from artifacts import commit, make_recipe

DISK_EVENTS = {
    "fcntl.flock",
    "open",
    "os.link",
    "os.chmod",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "shutil.rmtree",
}
OLD = {"data.json": b"old", "sub/page.md": b"old"}
NEW = {"data.json": b"new", "sub/page.md": b"new"}


def on_event(event: int, work: Callable[[], object], number: signal.Signals) -> None:
    """Does `work`, and sends this process a signal before its `event`-th disk event."""
    left = event

    def count(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if name in DISK_EVENTS and not (name == "open" and arguments[2] & os.O_ACCMODE == os.O_RDONLY):
            left -= 1
            if left == -1:
                os.kill(os.getpid(), number)

    sys.addaudithook(count)
    work()


def killed_before(event: int, work: Callable[[], object]) -> bool:
    """Runs `work` in a child that kills itself before its `event`-th disk event; False if it ended before that."""
    child = os.fork()
    if child == 0:
        on_event(event, work, signal.SIGKILL)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def test_killed_anywhere_there_is_the_old_or_the_new_and_again_makes_the_new(tmp_path: Path) -> None:
    expected = commit(ArtifactStore(tmp_path / "undisturbed"), make_recipe(seed=1), NEW)
    torn, kills = 0, 0
    while True:
        store = ArtifactStore(tmp_path / str(kills))
        old = commit(store, make_recipe(seed=0), OLD)

        def again(store: ArtifactStore = store) -> None:
            with store.lock("smoke", "rollouts", 1):
                if store.reuse(make_recipe(seed=1)) is None:
                    commit(store, make_recipe(seed=1), NEW)

        if not killed_before(kills, again):
            break
        kills += 1
        assert store.current("smoke", "rollouts", 1).digest in (old.digest, expected.digest)
        found = verify(store)
        assert found.sound, found.problems
        torn += bool(found.leftovers)
        again()
        assert store.current("smoke", "rollouts", 1).digest == expected.digest
        assert len(list(store.artifacts())) == 2
        sweep(store)
        assert verify(store).leftovers == ()
    assert kills > 25
    assert torn > 15


def test_killed_anywhere_the_announcement_is_the_old_or_the_new(tmp_path: Path) -> None:
    kills = 0
    while True:
        store = ArtifactStore(tmp_path / str(kills))
        old = commit(store, make_recipe("improved_policy", seed=0), OLD)
        new = commit(store, make_recipe("improved_policy", seed=1), NEW)
        store.announce("smoke", 2, old)
        if not killed_before(kills, partial(store.announce, "smoke", 2, new)):
            break
        kills += 1
        assert store.announced("smoke", 2).digest in (old.digest, new.digest)
        store.announce("smoke", 2, new)
        assert [one.policy.digest for one in store.announcements("smoke", 2)] == [old.digest, new.digest]
    assert kills >= 4


@pytest.mark.parametrize("call", ["os.fsync", "os.rename", "os.replace", "os.mkdir", "pathlib.Path.write_text"])
@pytest.mark.parametrize("nth", range(6))
def test_a_full_disk_is_an_error_and_leaves_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, nth: int
) -> None:
    store = ArtifactStore(tmp_path)
    old = commit(store, make_recipe(seed=0), OLD)
    real: Callable[..., object] = Path.write_text if "Path" in call else getattr(os, call.split(".")[1])
    left = nth

    def full(*args: object, **kwargs: object) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        try:
            commit(store, make_recipe(seed=1), NEW)
        except OSError as error:
            assert error.errno == errno.ENOSPC
        else:
            assert left >= 0
    assert store.current("smoke", "rollouts", 1).digest in {old.digest, commit(store, make_recipe(seed=1), NEW).digest}
    found = verify(store)
    assert found.sound
    assert found.leftovers == ()
    assert len(list(store.artifacts())) == 2


def test_everything_is_synced_before_the_rename_that_commits(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def record_sync(descriptor: int) -> None:
        events.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        fsync(descriptor)

    def record_rename(source: Path, target: Path) -> None:
        events.append(("rename", str(source)))
        events.append(("to", str(target)))
        rename(source, target)

    with store.draft(make_recipe()) as draft:
        (draft.path / "sub").mkdir()
        (draft.path / "sub" / "data.json").write_text("{}")
        monkeypatch.setattr("os.fsync", record_sync)
        monkeypatch.setattr("os.rename", record_rename)
        made = draft.commit(metrics={})
    commit = events.index(("rename", str(draft.path)))
    synced = {name for what, name in events[:commit] if what == "sync"}
    needed = {"", "/sub", "/sub/data.json", "/manifest.json"}
    assert {f"{draft.path}{name}" for name in needed} <= synced
    assert ("sync", str(made.path.parent)) in events[commit:]


def test_two_that_commit_the_same_at_once_make_one_version(store: ArtifactStore) -> None:
    with store.draft(make_recipe()) as slow:
        (slow.path / "data.json").write_text("{}")
        fast = commit(store, make_recipe(), {"data.json": b"{}"})
        assert slow.commit(metrics={}) == fast
    assert list(store.artifacts()) == [fast]


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no manifest": lambda version: (version / "manifest.json").unlink(),
    "nothing but a folder in it": lambda version: [*map(Path.unlink, filter(Path.is_file, version.rglob("*")))],
    "an empty manifest": lambda version: rewrite(version / "manifest.json", b""),
    "another file": lambda version: (version / "more.json").write_text("{}"),
    "a changed file": lambda version: rewrite(version / "data.json", b"odd"),
    "a file in its place": lambda version: replaced(version).write_text("not a folder"),
    "a link to nowhere": lambda version: replaced(version).symlink_to("nowhere"),
}


def replaced(path: Path) -> Path:
    shutil.rmtree(path)
    return path


def rewrite(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_in_a_versions_place_is_set_aside(store: ArtifactStore, damage: str) -> None:
    other, made = commit(store, make_recipe(seed=1), NEW), commit(store, make_recipe(), OLD)
    DAMAGES[damage](made.path)
    assert not verify(store).sound
    assert store.find(make_recipe(seed=1)) == other, "its neighbours are found as ever"
    assert commit(store, make_recipe(), OLD).digest == made.digest
    assert store.current("smoke", "rollouts", 1).digest == made.digest
    assert len(list((store.work / "aside").iterdir())) == 1
    assert verify(store).sound


def test_a_kill_between_the_rename_and_the_pointer_is_mended_by_a_sweep(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(ArtifactStore, "select", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        with store.draft(make_recipe()) as draft:
            (draft.path / "data.json").write_text("{}")
            draft.commit(metrics={})
    os.waitpid(child, 0)
    with pytest.raises(ArtifactError, match="no current version"):
        store.current("smoke", "rollouts", 1)
    assert verify(store).sound
    sweep(store)
    assert verify(store).leftovers == ()
    (made,) = store.artifacts()
    assert store.current("smoke", "rollouts", 1) == made


def stopped_before(event: int, work: Callable[[], object]) -> int | None:
    """The number of a child that does `work` and stops before its `event`-th disk event; None if it ended before."""
    child = os.fork()
    if child == 0:
        on_event(event, work, signal.SIGSTOP)
        os._exit(0)
    _, status = os.waitpid(child, os.WUNTRACED)
    assert os.WIFSTOPPED(status) or os.waitstatus_to_exitcode(status) == 0
    return child if os.WIFSTOPPED(status) else None


def test_whoever_looks_or_sweeps_while_another_is_at_work_finds_nothing_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process is stopped before every single thing that it does to the disk: slow, and alive."""
    monkeypatch.setattr("os.fsync", lambda _: None)  # the disk is waited for in the tests above
    stops = 0
    while True:
        store = ArtifactStore(tmp_path / str(stops))
        policy = commit(store, make_recipe("improved_policy", experiment="other"), NEW)

        def work(store: ArtifactStore = store, policy: Artifact = policy) -> None:
            with store.lock("smoke", "rollouts", 1):
                adopted = store.reuse(make_recipe("improved_policy"))
                store.announce("smoke", 2, adopted)
                commit(store, make_recipe("rollouts", 2, (adopted.as_input("behaviour_policy"),)), OLD)
                store.select(policy)
                sweep(store)

        child = stopped_before(stops, work)
        if child is None:
            break
        stops += 1
        found, swept = verify(store), sweep(store)
        os.kill(child, signal.SIGCONT)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert found.sound, found.problems
        assert found.leftovers == ()
        assert swept == []
        assert verify(store) == Verification(checked=3, problems=(), leftovers=(), reproducible={"bitwise": 3})
    assert stops > 60
