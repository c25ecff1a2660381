"""The lock: one owner, named; a dead one's lock is taken over, a living one's is respected."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agentprm_dagster.provenance.durable import replace_text
from agentprm_dagster.provenance.errors import LockedError
from agentprm_dagster.provenance.owner import Owner
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import sweep, verify
from artifacts import make_recipe

HOLD = """
import sys
from agentprm_dagster.provenance.manifest import Code, Recipe
from agentprm_dagster.provenance.store import ArtifactStore
store = ArtifactStore(sys.argv[1])
recipe = Recipe("smoke", "prm", 1, (), {}, Code("0", "0" * 64, None, None), {})
with store.lock("smoke", "prm", 1), store.draft(recipe):
    print("held", flush=True)
    sys.stdin.read()
"""


def lock_file(store: ArtifactStore) -> Path:
    return store.work / "locks" / "smoke.prm.1.lock"


def written_by(store: ArtifactStore, content: str) -> None:
    replace_text(lock_file(store), content)


@contextmanager
def holding(store: ArtifactStore) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(store.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


def test_a_lock_is_held_for_its_block_only(store: ArtifactStore) -> None:
    for _ in range(2):
        with store.lock("smoke", "prm", 1):
            assert Owner.from_json(lock_file(store).read_text()) == Owner.this_process()
        assert not lock_file(store).exists()
    with pytest.raises(RuntimeError), store.lock("smoke", "prm", 1):
        raise RuntimeError
    assert not lock_file(store).exists()


def test_the_same_process_cannot_hold_it_twice_but_others_beside_it(store: ArtifactStore) -> None:
    with store.lock("smoke", "prm", 1), store.lock("smoke", "prm", 2), store.lock("other", "prm", 1):
        with pytest.raises(LockedError, match=rf"smoke/prm\[1\].*process {os.getpid()}"), store.lock("smoke", "prm", 1):
            pass
        assert lock_file(store).exists()


def test_a_living_process_keeps_it_and_a_killed_one_loses_it(store: ArtifactStore) -> None:
    with holding(store) as holder:
        with pytest.raises(LockedError, match=rf"process {holder.pid}.*wait for it or stop it"):
            store.lock("smoke", "prm", 1).__enter__()
        holder.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie: its number is taken
        with store.lock("smoke", "prm", 1):
            assert Owner.from_json(lock_file(store).read_text()) == Owner.this_process()


def test_a_stopped_process_is_alive(store: ArtifactStore) -> None:
    with holding(store) as holder:
        holder.send_signal(signal.SIGSTOP)
        os.waitpid(holder.pid, os.WUNTRACED)
        with pytest.raises(LockedError, match=f"process {holder.pid}"):
            store.lock("smoke", "prm", 1).__enter__()


def test_a_process_forked_from_the_owner_does_not_keep_it(store: ArtifactStore) -> None:
    orphan_lives, end = os.pipe()
    owner = os.fork()
    if owner == 0:
        with store.lock("smoke", "prm", 1):
            if os.fork() == 0:
                os.close(end)
                os.read(orphan_lives, 1)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(owner, 0)
    with store.lock("smoke", "prm", 1):
        pass
    os.close(end)


CONTENTS = {
    "nothing": "",
    "nonsense": "\0{",
    "another boot": replace(Owner.this_process(), boot="another").to_json(),
    "another start": replace(Owner.this_process(), started="another").to_json(),
    "a living process": Owner.this_process().to_json(),
    "another machine": replace(Owner.this_process(), host="elsewhere", boot="another", pid=1).to_json(),
    "a name it had before": replace(Owner.this_process(), host="renamed").to_json(),
    "an older record": '{"pid": 1, "host": "x", "boot": "x", "started": "1"}',
}


@pytest.mark.parametrize("content", CONTENTS)
def test_whatever_a_lock_file_says_the_lock_decides(store: ArtifactStore, content: str) -> None:
    written_by(store, CONTENTS[content])
    assert verify(store).sound
    with store.lock("smoke", "prm", 1):
        assert Owner.from_json(lock_file(store).read_text()) == Owner.this_process()
        lock_file(store).write_text(CONTENTS[content])
        with pytest.raises(LockedError, match=r"smoke/prm\[1\] is being made by"):
            store.lock("smoke", "prm", 1).__enter__()
        assert sweep(store) == []
    assert not lock_file(store).exists()


@pytest.mark.parametrize("odd", [lambda path: path.mkdir(), lambda path: path.symlink_to(path.parent)])
def test_a_lock_file_that_is_none_is_an_error_and_ends_no_sweep(
    store: ArtifactStore, odd: Callable[[Path], None]
) -> None:
    lock_file(store).parent.mkdir(parents=True)
    odd(lock_file(store))
    with pytest.raises(LockedError, match=r"prm\.1\.lock: expected a lock file.*Remove it"):
        store.lock("smoke", "prm", 1).__enter__()
    assert sweep(store) == []


def in_another_container(script: str, *arguments: object) -> list[str]:
    """The command that runs a script in a process-id namespace of its own, under this host's name."""
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no process-id namespaces can be made here")
    return [*unshare, sys.executable, "-c", script, *map(str, arguments)]


LOOK = """
import sys
from agentprm_dagster.provenance.errors import LockedError
from agentprm_dagster.provenance.owner import Owner
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import sweep, verify
store, owner = ArtifactStore(sys.argv[1]), Owner.from_json(sys.argv[2])
print(owner.state(), verify(store).leftovers, sweep(store))
try:
    store.lock("smoke", "prm", 1).__enter__()
except LockedError as error:
    print(error)
"""


def test_two_containers_of_one_name_keep_off_each_others_locks_and_drafts(store: ArtifactStore, tmp_path: Path) -> None:
    command = in_another_container(HOLD, store.root)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match="in another container or on another machine"):
            store.lock("smoke", "prm", 1).__enter__()
        assert verify(store).leftovers == ()
        assert sweep(store) == []
        (inside,) = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        os.kill(int(inside), signal.SIGKILL)
        holder.wait()
        assert len(verify(store).leftovers) == len(sweep(store)) == 2
    me = Owner.this_process(tmp_path / "presence")
    with store.lock("smoke", "prm", 1), store.draft(make_recipe()):
        looked = subprocess.run(
            in_another_container(LOOK, store.root, me.to_json()), capture_output=True, text=True, check=True
        )
        assert looked.stdout.startswith("elsewhere () []\nsmoke/prm[1] is being made by process")


def test_a_lock_taken_by_another_meanwhile_is_not_released(store: ArtifactStore) -> None:
    other = replace(Owner.this_process(), host="elsewhere")
    with store.lock("smoke", "prm", 1):
        written_by(store, other.to_json())
    assert Owner.from_json(lock_file(store).read_text()) == other


def test_of_many_that_find_a_dead_owner_one_gets_it(store: ArtifactStore) -> None:
    written_by(store, CONTENTS["another boot"])
    readers, children = [], []
    for _ in range(8):
        reader, writer = os.pipe()
        go_reader, go_writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(go_writer)
            try:
                with store.lock("smoke", "prm", 1):
                    os.write(writer, b"1")
                    os.read(go_reader, 1)
            except LockedError:
                os.write(writer, b"0")
            os._exit(0)
        os.close(go_reader)
        readers.append(reader)
        children.append((child, go_writer))
    answers = [os.read(reader, 1) for reader in readers]
    for _, go_writer in children:
        os.close(go_writer)
    for child, _ in children:
        os.waitpid(child, 0)
    assert sorted(answers) == [b"0"] * 7 + [b"1"]


def test_owners_states(tmp_path: Path) -> None:
    me = Owner.this_process()
    assert me.state() == "alive"
    assert replace(me, host="renamed").state() == "alive"
    assert replace(me, started="0").state() == "dead"
    for other in ("another", ""):
        assert replace(me, boot=other).state() == "elsewhere"
        assert replace(me, namespace=other).state() == "elsewhere"
    assert Owner.from_json(me.to_json()) == me
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert replace(me, pid=child).state() == "dead", "a zombie"
    os.waitpid(child, 0)
    assert replace(me, pid=child).state() == "dead"


def test_an_owner_that_cannot_be_seen_is_dead_when_nobody_of_its_container_is_present(tmp_path: Path) -> None:
    me = Owner.this_process(tmp_path)
    assert Path(me.presence).parent == tmp_path
    assert Owner.this_process(tmp_path) == me
    unseen = replace(me, boot="another")
    assert unseen.state() == "elsewhere", "its container runs"
    (tmp_path / "deserted").touch()
    assert replace(unseen, presence=str(tmp_path / "deserted")).state() == "dead"
    assert replace(unseen, presence=str(tmp_path / "of another home")).state() == "elsewhere"
