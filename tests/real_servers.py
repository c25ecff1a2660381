"""Servers that a deployment has, real ones on the loopback: PostgreSQL and an object store that speaks S3."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from urllib.error import HTTPError
from urllib.request import urlopen

from chat_servers import free_port

HOST = "127.0.0.1"
PASSWORD = "p@ss/w%rd never seen"
"""Every character of it that means something in a URI has to be quoted on its way."""
START_SECONDS = 120


@contextmanager
def postgres_server() -> Iterator[dict[str, str]]:
    """PostgreSQL with the databases `dagster` and `mlflow`; what libpq's variables must be to reach it."""
    port = str(free_port())
    libpq = {"PGHOST": HOST, "PGPORT": port, "PGUSER": "agentprm", "PGPASSWORD": PASSWORD}
    with TemporaryDirectory(prefix="agentprm-postgres-") as name:
        folder, user = Path(name), "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        initdb = [postgres_program("initdb"), "--pgdata", f"{folder}/data", "--username", "agentprm", "--no-sync"]
        login = ["--auth", "scram-sha-256", "--pwfile", f"{folder}/password"]
        subprocess.run([*initdb, *login], check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder)
        here = ["-c", f"listen_addresses={HOST}", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        command = [postgres_program("postgres"), "-D", f"{folder}/data", "-p", port, *here]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=folder)
        try:
            _await(lambda: not _client("pg_isready", {}, "--host", HOST, "--port", port), server, folder / "log")
            for database in ("dagster", "mlflow"):
                assert not _client("createdb", libpq, database)
            yield libpq
        finally:
            server.terminate()
            server.wait()


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """moto's server with the bucket `agentprm`; the variables by which clients find it."""
    import boto3

    port = free_port()
    url = f"http://{HOST}:{port}"
    key = {"AWS_ACCESS_KEY_ID": "agentprm", "AWS_SECRET_ACCESS_KEY": "secret-never-seen"}
    variables = {**key, "AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}
    command = [sys.executable, "-m", "moto.server", "--host", HOST, "--port", str(port)]
    with (folder / "s3.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        _await(lambda: answers(f"{url}/moto-api/"), server, folder / "s3.log")
        bucket = {"endpoint_url": url, "region_name": variables["AWS_DEFAULT_REGION"]}
        key_arguments = {name.lower(): value for name, value in key.items()}
        boto3.client("s3", **bucket, **key_arguments).create_bucket(Bucket="agentprm")
        yield variables
    finally:
        server.terminate()
        server.wait()


@contextmanager
def started(command: list[str], variables: Mapping[str, str], log: Path, url: str = "") -> Iterator[None]:
    """A program of this environment until the block ends, which begins when it answers at the URL, if one is given."""
    program = str(Path(sys.executable).with_name(command[0]))
    environment = {**os.environ, **variables}
    with log.open("wb") as file:
        process = subprocess.Popen([program, *command[1:]], env=environment, stdout=file, stderr=file, cwd=log.parent)
    try:
        if url:
            _await(lambda: answers(url), process, log)
        yield
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    """Whether a server answers there, be it with a refusal."""
    try:
        urlopen(url, timeout=10).close()
    except HTTPError:
        return True
    except OSError:
        return False
    return True


def _await(answer: Callable[[], bool], server: "subprocess.Popen[bytes]", log: Path) -> None:
    tick = Event()
    for _ in range(START_SECONDS * 10):
        assert server.poll() is None, log.read_text()
        if answer():
            return
        tick.wait(0.1)
    raise AssertionError(log.read_text())


def postgres_program(name: str) -> str:
    """A program of PostgreSQL: Debian keeps those of a server outside PATH."""
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default="")
    assert found, f"no {name}: install PostgreSQL (apt-get install postgresql)"
    return found


def _client(name: str, libpq: Mapping[str, str], *arguments: str) -> int:
    environment = {**os.environ, **libpq}
    return subprocess.run([postgres_program(name), *arguments], env=environment, stdout=subprocess.DEVNULL).returncode
