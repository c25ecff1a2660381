"""Ports of this machine: whether they can be had, and whether something answers there."""

import errno
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

HOST = "127.0.0.1"


class UiError(Exception):
    """The user interfaces cannot be shown."""


def refuse_ports(ports: Mapping[str, int]) -> None:
    """UiError for a port that two are to have, that something listens on, or that this user may not have."""
    for name, port in ports.items():
        others = [other for other in ports if other != name and ports[other] == port]
        if others:
            raise UiError(f"{name} and {others[0]} cannot both have port {port}: choose another for one of them")
        refuse_taken(port)


def refuse_taken(port: int) -> None:
    """UiError if a port of this machine cannot be had, with the process that has it where that can be seen."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, or a port just left is refused
        try:
            probe.bind((HOST, port))
        except OSError as error:
            other = "choose another (see `agentprm ui --help`)"
            if error.errno != errno.EADDRINUSE:
                raise UiError(f"port {port} cannot be had: {error.strerror}; {other}") from error
            raise UiError(f"port {port} is taken{_by_whom(port)}: stop what listens there, or {other}") from error


def _by_whom(port: int) -> str:
    """` by process 12 (name)`; empty where the system does not tell."""
    with suppress(psutil.Error):  # other users' connections may be hidden
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.pid and found.laddr and found.laddr.port == port:
                return f" by process {found.pid} ({psutil.Process(found.pid).name()})"
    return ""


def listening(place: int | Path) -> bool:
    """Whether something on this machine answers on a port, or at a socket's path."""
    is_port = isinstance(place, int)
    with socket.socket(socket.AF_INET if is_port else socket.AF_UNIX) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, place) if is_port else str(place)) == 0
