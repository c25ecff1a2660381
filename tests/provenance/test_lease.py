"""Leases: one owner of what is being made, whatever machine it is on; one that was not heard of commits nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from agentprm_dagster.provenance import lease
from agentprm_dagster.provenance.errors import LeaseLostError, LockedError
from agentprm_dagster.provenance.filesystem import warn_once
from agentprm_dagster.provenance.lease import Lease, take
from agentprm_dagster.provenance.owner import Owner
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import verify
from artifacts import commit, make_recipe
from shared_folder import SharedFolder, pretend_host

TESTS = Path(__file__).parents[1]
SHORT = 0.5

HOLD = """
import sys
from pathlib import Path
from agentprm_dagster.provenance.store import ArtifactStore
from artifacts import commit, make_recipe
from shared_folder import pretend_host
pretend_host("elsewhere")
store = ArtifactStore(sys.argv[1], Path(sys.argv[2]))
with store.lock("smoke", "rollouts", 1):
    print("held", flush=True)
    sys.stdin.readline()
    try:
        print(commit(store, make_recipe(), {"data.json": b"elsewhere"}).digest)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
"""


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_host("here", SHORT, monkeypatch)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"shared://{tmp_path}/bucket"


def store_of(uri: str, tmp_path: Path, host: str = "here") -> ArtifactStore:
    """The store as a machine sees it that has a scratch folder of its own."""
    return ArtifactStore(uri, tmp_path / host)


def generations(store: ArtifactStore) -> list[int]:
    return sorted(int(path.name) for path in (store.root / ".leases" / "smoke.rollouts.1").iterdir())


@contextmanager
def holding(uri: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process on another host that holds the lock."""
    command = [sys.executable, "-c", HOLD, uri, str(tmp_path / "elsewhere")]
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


def no_waiting(_: float) -> None:
    raise AssertionError("expected to take it at once")


def test_a_living_holder_keeps_it(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "TTL_SECONDS", 60)
    with holding(uri, tmp_path) as holder:
        expected = rf"smoke/rollouts\[1\] .* process {holder.pid} on elsewhere, .*another machine.*ends 60 s later"
        with pytest.raises(LockedError, match=expected):
            store_of(uri, tmp_path).lock("smoke", "rollouts", 1).__enter__()


def test_a_killed_holders_lease_ends(uri: str, tmp_path: Path) -> None:
    store = store_of(uri, tmp_path)
    with holding(uri, tmp_path) as holder:
        holder.send_signal(signal.SIGKILL)
        with store.lock("smoke", "rollouts", 1):
            assert generations(store) == [2]
            made = commit(store, make_recipe())
    assert store.current("smoke", "rollouts", 1) == made


def test_a_holder_that_stood_still_commits_nothing(uri: str, tmp_path: Path) -> None:
    store = store_of(uri, tmp_path)
    with holding(uri, tmp_path) as holder:
        assert holder.stdout is not None
        holder.send_signal(signal.SIGSTOP)
        os.waitpid(holder.pid, os.WUNTRACED)
        with store.lock("smoke", "rollouts", 1):
            made = commit(store, make_recipe())
            holder.send_signal(signal.SIGCONT)
            said, _ = holder.communicate("\n")
            me = Owner.this_process()
            assert said.startswith(f"LeaseLostError: smoke/rollouts[1] was taken over by {me}, as this one (process ")
            store.select(made)  # what the other did has not cost this one its lease
    assert store.current("smoke", "rollouts", 1) == made
    assert [artifact.digest for artifact in store.versions(make_recipe().partition)] == [made.digest]
    assert verify(store).sound


@pytest.mark.parametrize("writes", [0, 1, 2], ids=["before its files", "before its manifest", "before it is current"])
def test_whenever_it_is_lost_nothing_becomes_current(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 3600)
    store, require, left = store_of(uri, tmp_path), Lease.require, writes
    before = commit(store, make_recipe(seed=1))

    def lose(mine: Lease) -> None:
        nonlocal left
        if left == 0:
            (store.root / ".leases" / "smoke.rollouts.1" / "000000000002").write_bytes(b"another's")
        left -= 1
        require(mine)

    monkeypatch.setattr(Lease, "require", lose)
    with store.lock("smoke", "rollouts", 1), pytest.raises(LeaseLostError, match="taken over by another process"):
        commit(store, make_recipe())
    assert store.head("smoke", "rollouts", 1) == before.version
    assert len([*store.versions(before.version.partition)]) == 1 + (writes == 2)
    assert verify(store).sound == (writes != 1)


def test_a_released_lease_and_a_dead_owners_are_taken_at_once(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "sleep", no_waiting)
    store, other = store_of(uri, tmp_path), store_of(uri, tmp_path, "elsewhere")
    for taken in range(1, 4):
        with (store if taken % 2 else other).lock("smoke", "rollouts", 1):
            assert generations(store) == [taken]
    child = os.fork()
    if child == 0:
        store.lock("smoke", "rollouts", 1).__enter__()
        os._exit(0)
    os.waitpid(child, 0)
    with other.lock("smoke", "rollouts", 1):
        assert generations(store) == [5]


def in_processes(count: int, work: Callable[[int], None]) -> None:
    """Runs `work` in so many processes at once, each on a host of its own."""
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            code = 1
            with suppress(BaseException):  # a fork of the tests' process must never go on as one
                pretend_host(f"host-{number}")
                work(number)
                code = 0
            os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * count


def test_of_many_machines_one_has_it_at_a_time(uri: str, tmp_path: Path) -> None:
    def take_turns(number: int) -> None:
        store, turns = store_of(uri, tmp_path, str(number)), 5
        while turns:
            with suppress(LockedError), store.lock("smoke", "rollouts", 1):
                (tmp_path / "inside").touch(exist_ok=False)
                (tmp_path / "inside").unlink()
                turns -= 1

    in_processes(8, take_turns)
    assert generations(store_of(uri, tmp_path))[-1] == 40


def test_no_announcement_of_several_machines_is_lost(uri: str, tmp_path: Path) -> None:
    policies = [commit(store_of(uri, tmp_path), make_recipe("improved_policy", seed=seed)) for seed in range(4)]

    def announce(number: int) -> None:
        store = store_of(uri, tmp_path, str(number))
        while policies[number].as_input("behaviour_policy") not in [
            each.policy for each in store.announcements("smoke", 2)
        ]:
            with suppress(LockedError):
                store.announce("smoke", 2, policies[number])

    in_processes(4, announce)
    assert len(store_of(uri, tmp_path).announcements("smoke", 2)) == 4


def test_a_number_that_others_have_passed_meanwhile_is_not_the_lease(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other, real = store_of(uri, tmp_path), store_of(uri, tmp_path, "elsewhere"), SharedFolder.pipe_file

    def late(fs: SharedFolder, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        if mode == "create" and path.endswith("000000000001"):
            monkeypatch.setattr(SharedFolder, "pipe_file", real)
            for _taken in range(2):
                with other.lock("smoke", "rollouts", 1):
                    pass
        real(fs, path, value, mode)

    monkeypatch.setattr(SharedFolder, "pipe_file", late)
    with store.lock("smoke", "rollouts", 1):
        assert generations(store) == [3]


def test_a_lease_outlives_a_store_that_is_gone_for_a_while(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, real, refused, renewed = store_of(uri, tmp_path), SharedFolder.pipe_file, Event(), Event()

    def gone(*_: object, **__: object) -> None:
        refused.set()
        raise ConnectionError("gone")

    def back(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        renewed.set()

    with store.lock("smoke", "rollouts", 1):
        monkeypatch.setattr(SharedFolder, "pipe_file", gone)
        assert refused.wait(60)
        monkeypatch.setattr(SharedFolder, "pipe_file", back)
        assert renewed.wait(60)
        made = commit(store, make_recipe())
    assert store.current("smoke", "rollouts", 1) == made


@pytest.mark.parametrize("content", [b"", b"\0{", b'{"holder": 1}'])
def test_a_lease_that_cannot_be_read_ends_too(uri: str, tmp_path: Path, content: bytes) -> None:
    store = store_of(uri, tmp_path)
    folder = store.root / ".leases" / "smoke.rollouts.1"
    folder.mkdir(parents=True)
    (folder / "000000000041").write_bytes(content)
    with store.lock("smoke", "rollouts", 1):
        assert generations(store) == [42]


def test_a_creation_that_was_sent_twice_is_no_refusal(tmp_path: Path) -> None:
    store = store_of(f"repeats://{tmp_path}/bucket", tmp_path)
    assert store.try_out()
    with store.lock("smoke", "rollouts", 1):
        assert generations(store) == [1]


@pytest.mark.parametrize("scheme", ["looksfirst", "overwrites", "refuses"])
def test_a_filesystem_that_creates_for_several_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    warn_once.cache_clear()
    (tmp_path / "bucket/.leases").mkdir(parents=True)
    store = store_of(f"{scheme}://{tmp_path}/bucket", tmp_path)
    assert not store.try_out()
    for _ in range(2):
        with store.lock("smoke", "rollouts", 1):
            made = commit(store, make_recipe())
            with pytest.raises(LockedError, match=f"process {os.getpid()}"):
                store.lock("smoke", "rollouts", 1).__enter__()
    assert [record.message for record in caplog.records] == [
        f"{store.root}: the filesystem creates no file for one process alone, so that locks hold among the processes "
        "of this machine only: make each artifact from one machine at a time"
    ]
    assert store.current("smoke", "rollouts", 1) == made
    assert not [*(tmp_path / "bucket/.leases").iterdir()]


def test_leases_are_none_of_the_stores_contents(uri: str, tmp_path: Path) -> None:
    store = store_of(uri, tmp_path)
    with store.lock("smoke", "rollouts", 1):
        commit(store, make_recipe())
        assert verify(store).sound
    assert store.experiments() == ["smoke"]


def test_a_listing_from_before_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3's filesystem answers from what it listed before, unless that is forgotten."""
    store = ArtifactStore(f"memory://{tmp_path.name}", tmp_path)
    listed: dict[str, Any] = {}

    def from_before(fs: MemoryFileSystem, path: str, detail: bool = True, **_: object) -> Any:
        return listed.setdefault(path, real(fs, path, detail=detail))

    real = MemoryFileSystem.ls
    monkeypatch.setattr(MemoryFileSystem, "ls", from_before)
    monkeypatch.setattr(MemoryFileSystem, "invalidate_cache", lambda fs, path=None: listed.clear())
    for _ in range(2):
        with store.lock("smoke", "rollouts", 1):
            made = commit(store, make_recipe())
    assert store.find(make_recipe()) == made


def test_a_process_cannot_hold_it_twice(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "TTL_SECONDS", 60)
    root = store_of(uri, tmp_path).root
    with take(root, "a", "a"), pytest.raises(LockedError, match=f"a is being made by process {os.getpid()} on here: "):
        take(root, "a", "a")
