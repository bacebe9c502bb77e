"""
What a worker does to itself before it sees a byte from outside: decision 0007 says which limit guarantees what.

Two steps. `begin` comes first, before codecs are loaded: memory, no core file, no file written, no network, death with
the parent. `finish` comes when everything is loaded: no further file descriptor whatever, and, where the system has it,
a filter that refuses the calls a decoder never needs. All by way of the C library; nothing of ours is compiled.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from typing import Final

__all__ = ["begin", "cpu_for_next_job", "finish"]

MEMORY_BYTES: Final = 1 << 30
"""Address space of a worker, libraries (140 MB) included: a slide level of 8,192 x 8,192 in colour fits."""

CPU_SECONDS: Final = 40
"""Processor time of one job: more than the pool lets pass on the clock."""

STARTUP_FILES: Final = 64
"""File descriptors while codecs are loaded; none after that."""

NICENESS: Final = 5
"""Pixels wait for the archive, not the other way round."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_CLONE_NEWIPC: Final = 0x08000000
_CLONE_THREAD: Final = 0x00010000

# Linux calls by number, x86-64 and (None: does not exist there) AArch64.
_REFUSED: Final = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "execve": (59, 221), "execveat": (322, 281), "fork": (57, None),
    "vfork": (58, None), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kill": (62, 129), "tkill": (200, 130), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "open": (2, None), "creat": (85, None), "openat": (257, 56),
    "openat2": (437, 437), "open_by_handle_at": (304, 265), "unlink": (87, None), "unlinkat": (263, 35),
    "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "truncate": (76, 45), "mkdir": (83, None),
    "mkdirat": (258, 34), "rmdir": (84, None), "link": (86, None), "linkat": (265, 37), "symlink": (88, None),
    "symlinkat": (266, 36), "mknod": (133, None), "mknodat": (259, 33), "chmod": (90, None), "fchmodat": (268, 53),
    "chown": (92, None), "fchownat": (260, 54), "mount": (165, 40), "umount2": (166, 39), "unshare": (272, 97),
    "setns": (308, 268), "io_uring_setup": (425, 425), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "add_key": (248, 217), "keyctl": (250, 219), "memfd_create": (319, 279),
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "prlimit64": (302, 261),
    "setrlimit": (160, 164),
    # Other ways to signal, to slow down and to look into processes of the same user.
    "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "fcntl": (72, 25),
    "ioctl": (16, 29), "setpriority": (141, 140), "sched_setaffinity": (203, 122), "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "sched_setattr": (314, 274), "ioprio_set": (251, 30), "kcmp": (312, 272),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "shmat": (30, 196), "shmctl": (31, 195), "mq_unlink": (241, 181),
    # Files by name without a descriptor: changed, or only looked at.
    "fchmodat2": (452, 452), "lchown": (94, None), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "setxattrat": (463, 463), "removexattr": (197, 14), "lremovexattr": (198, 15), "removexattrat": (466, 466),
    "getxattr": (191, 8), "lgetxattr": (192, 9), "getxattrat": (464, 464), "listxattr": (194, 11),
    "llistxattr": (195, 12), "listxattrat": (465, 465), "stat": (4, None), "lstat": (6, None),
    "newfstatat": (262, 79), "statx": (332, 291), "statfs": (137, 43), "access": (21, None), "faccessat": (269, 48),
    "faccessat2": (439, 439), "readlink": (89, None), "readlinkat": (267, 78), "name_to_handle_at": (303, 264),
    "file_getattr": (468, 468), "file_setattr": (469, 469), "chdir": (80, 49), "chroot": (161, 51),
    # What only root may: a worker of root, where it got no user namespace.
    "pivot_root": (155, 41), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fspick": (433, 433), "mount_setattr": (442, 442), "swapon": (167, 224), "swapoff": (168, 225),
    "reboot": (169, 142), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162),
    "acct": (163, 89), "syslog": (103, 116), "quotactl": (179, 60), "quotactl_fd": (443, 443), "iopl": (172, None),
    "ioperm": (173, None), "personality": (135, 92),
}  # fmt: skip
_ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_CLONE: Final = (56, 220)
_CLONE3: Final = 435

# Instructions of the classic packet filter (linux/filter.h) and the answers of a seccomp filter.
_INSTRUCTION: Final = struct.Struct("=HBBI")
_LOAD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_NOT_BELOW: Final = 0x35
_JUMP_SET: Final = 0x45
_RETURN: Final = 0x06
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_EPERM: Final = 0x00050001
_ENOSYS: Final = 0x00050026
_FIRST_X32_CALL: Final = 0x40000000


def begin(parent: int) -> list[str]:
    """Set the limits that hold from the beginning; end the process when *parent* is gone. Return what holds."""
    libc = ctypes.CDLL(None, use_errno=True)
    held = []
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0:
        held.append("dies-with-parent")
    if os.getppid() != parent:
        os._exit(1)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        held.append("no-new-privileges")
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_NOFILE, STARTUP_FILES),
    ):
        _limit(kind, value)
    held.append("limits")
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC) == 0 or libc.unshare(_CLONE_NEWNET) == 0:
        held.append("no-network-namespace")
    os.nice(NICENESS)
    return held


def finish() -> list[str]:
    """Set what can only hold once everything is loaded; return what holds."""
    held = ["no-descriptors"]
    _limit(resource.RLIMIT_NOFILE, 0)
    if _filter_calls():
        held.append("filtered-calls")
    return held


def cpu_for_next_job() -> None:
    """Give the next job its processor time; SIGPROF ends the process when it is used up."""
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)


def _limit(kind: int, value: int) -> None:
    """Lower a limit for good, never raise one."""
    _, hard = resource.getrlimit(kind)
    lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (lowest, lowest))


def _filter_calls() -> bool:
    """Install the filter; tell whether this system took it."""
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        return False
    column, architecture = known
    numbers = sorted({number for row in _REFUSED.values() if (number := row[column]) is not None})
    program = _program(architecture, numbers, _CLONE[column])
    count = len(program) // _INSTRUCTION.size
    kept = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    described = Program(count, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(described), 0, 0) == 0)


def _program(architecture: int, numbers: list[int], clone: int) -> bytes:
    """
    The filter: another architecture kills, the listed calls are refused, new processes too, the rest is allowed.

    seccomp_data is nr (at 0), arch (at 4), instruction pointer (at 8), six arguments of eight bytes (from 16).
    """
    pack = _INSTRUCTION.pack
    parts = [
        pack(_LOAD, 0, 0, 4),
        pack(_JUMP_EQUAL, 1, 0, architecture),
        pack(_RETURN, 0, 0, _KILL),
        pack(_LOAD, 0, 0, 0),
        pack(_JUMP_NOT_BELOW, 0, 1, _FIRST_X32_CALL),
        pack(_RETURN, 0, 0, _EPERM),
        pack(_JUMP_EQUAL, 0, 1, _CLONE3),  # its flags are behind a pointer; "not there" makes libraries use clone
        pack(_RETURN, 0, 0, _ENOSYS),
    ]
    for number in numbers:
        parts += [pack(_JUMP_EQUAL, 0, 1, number), pack(_RETURN, 0, 0, _EPERM)]
    parts += [
        pack(_JUMP_EQUAL, 0, 3, clone),
        pack(_LOAD, 0, 0, 16),
        pack(_JUMP_SET, 1, 0, _CLONE_THREAD),
        pack(_RETURN, 0, 0, _EPERM),
        pack(_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(parts)
