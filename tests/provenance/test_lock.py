"""The lock: one owner, named; a dead one's lock is taken over, a living one's is respected."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agentprm_dagster.provenance.durable import replace_text
from agentprm_dagster.provenance.errors import LockedError
from agentprm_dagster.provenance.owner import Owner
from agentprm_dagster.provenance.store import ArtifactStore

HOLD = """
import sys
from agentprm_dagster.provenance.store import ArtifactStore
with ArtifactStore(sys.argv[1]).lock("smoke", "prm", 1):
    print("held", flush=True)
    sys.stdin.read()
"""


def lock_file(store: ArtifactStore) -> Path:
    return store.work / "locks" / "smoke.prm.1.lock"


def written_by(store: ArtifactStore, owner: Owner) -> None:
    replace_text(lock_file(store), owner.to_json())


def test_a_lock_is_held_for_its_block_only(store) -> None:
    for _ in range(2):
        with store.lock("smoke", "prm", 1):
            assert Owner.from_json(lock_file(store).read_text()) == Owner.this_process()
        assert not lock_file(store).exists()
    with pytest.raises(RuntimeError), store.lock("smoke", "prm", 1):
        raise RuntimeError
    assert not lock_file(store).exists()


def test_the_same_process_cannot_hold_it_twice_but_others_beside_it(store) -> None:
    with store.lock("smoke", "prm", 1), store.lock("smoke", "prm", 2), store.lock("other", "prm", 1):
        with pytest.raises(LockedError, match=rf"smoke/prm\[1\].*process {os.getpid()}"), store.lock("smoke", "prm", 1):
            pass
        assert lock_file(store).exists()


def test_a_living_process_keeps_it_and_a_killed_one_loses_it(store) -> None:
    command = [sys.executable, "-c", HOLD, str(store.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=rf"process {holder.pid}.*wait for it or stop it"):
            store.lock("smoke", "prm", 1).__enter__()
        holder.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie: its number is taken
        with store.lock("smoke", "prm", 1):
            assert Owner.from_json(lock_file(store).read_text()) == Owner.this_process()


@pytest.mark.parametrize("field", ["boot", "started"])
def test_a_number_given_to_another_process_is_not_the_owner(store, field: str) -> None:
    written_by(store, replace(Owner.this_process(), **{field: "another"}))
    with store.lock("smoke", "prm", 1):
        assert Owner.from_json(lock_file(store).read_text()) == Owner.this_process()


def test_another_machine_is_believed(store) -> None:
    written_by(store, replace(Owner.this_process(), host="elsewhere", pid=1))
    with pytest.raises(LockedError, match=rf"elsewhere, another machine.*remove {lock_file(store)}"):
        store.lock("smoke", "prm", 1).__enter__()


def test_a_lock_that_names_nobody_is_an_error(store) -> None:
    replace_text(lock_file(store), "{}")
    with pytest.raises(LockedError, match="does not name its owner"):
        store.lock("smoke", "prm", 1).__enter__()


def test_a_lock_taken_by_another_meanwhile_is_not_released(store) -> None:
    other = replace(Owner.this_process(), host="elsewhere")
    with store.lock("smoke", "prm", 1):
        written_by(store, other)
    assert Owner.from_json(lock_file(store).read_text()) == other


def test_of_many_that_find_a_dead_owner_one_gets_it(store) -> None:
    written_by(store, replace(Owner.this_process(), boot="another"))
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


def test_owners_states() -> None:
    me = Owner.this_process()
    assert me.state() == "alive"
    assert replace(me, started="0").state() == "dead"
    assert replace(me, host="elsewhere").state() == "elsewhere"
    assert Owner.from_json(me.to_json()) == me
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert replace(me, pid=child).state() == "dead"
