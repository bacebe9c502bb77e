"""What a worker can no longer do once it is confined: tried in a process of its own (decision 0007)."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

import pytest

TRY = """
import ctypes, fcntl, json, os, signal, socket, subprocess, sys, threading
from strongroom.imaging import confinement
held = confinement.begin(os.getppid()) + confinement.finish()
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
def outcome(attempt):
    try:
        attempt()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"
attempts = {
    "read a file": lambda: open("/etc/hostname"),
    "write a file": lambda: open("/tmp/strongroom-test", "w"),
    "open a socket": lambda: socket.socket(),
    "open a pipe": lambda: os.pipe(),
    "copy a descriptor": lambda: os.dup(1),
    "take 2 GiB": lambda: bytearray(2 << 30),
}
filtered = {
    "make a process": lambda: os.fork() or os._exit(0),
    "run a program": lambda: os.execv("/bin/true", ["/bin/true"]),
    "signal another": lambda: os.kill(os.getppid(), 0),
    "be signalled for by a socket": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid()),
    "change a mode": lambda: os.chmod(sys.argv[1], 0o666),
    "change a time": lambda: os.utime(sys.argv[1]),
    "change an attribute": lambda: os.setxattr(sys.argv[1], "user.x", b"1"),
    "look at a file": lambda: os.stat(sys.argv[1]),
    "look at a link": lambda: os.readlink("/proc/self/exe"),
    "slow another": lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19),
    "move another": lambda: os.sched_setaffinity(os.getppid(), {0}),
}
if os.uname().machine == "x86_64":
    path = ctypes.c_char_p(sys.argv[1].encode())
    filtered |= {
        "signal a thread of another": lambda: call(234, os.getppid(), os.getppid(), 0),
        "change a mode by the newest call": lambda: call(452, -100, path, 0o666, 0),
    }
if "filtered-calls" in held:
    attempts |= filtered
print(json.dumps([held, {name: outcome(one) for name, one in attempts.items()}]))
"""


def confined() -> tuple[list[str], dict[str, str]]:
    """What holds here, and what came of each attempt."""
    with tempfile.NamedTemporaryFile() as victim:
        command = [sys.executable, "-c", TRY, victim.name]
        run = subprocess.run(command, capture_output=True, check=True, timeout=60, stdin=subprocess.PIPE)
    held, found = json.loads(run.stdout)
    return held, found


def test_nothing_of_it_works() -> None:
    """No file, not even its mode or its size, no socket, pipe, process, program or signal, no more memory."""
    held, found = confined()

    assert {"dies-with-parent", "no-new-privileges", "limits", "no-descriptors"} <= set(held)
    assert {} == {name: how for name, how in found.items() if how == "done"}


def test_the_filter_is_there_on_this_system() -> None:
    """Where the kernel has seccomp; elsewhere the limits above have to do."""
    held, found = confined()
    if "filtered-calls" not in held:
        pytest.skip("this system takes no filter")

    assert {"make a process": "PermissionError", "run a program": "PermissionError"}.items() <= found.items()


def test_an_orphan_ends_at_once() -> None:
    """A worker whose parent is another than it was told does not begin."""
    script = "from strongroom.imaging import confinement; confinement.begin(1 << 22); print('begun')"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, timeout=60)

    assert (1, b"") == (run.returncode, run.stdout)
