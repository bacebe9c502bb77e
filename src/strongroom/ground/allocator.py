    Set glibc's thresholds for this process; return False where there is no mallopt, nothing is lost then.

from __future__ import annotations

import ctypes

    Set glibc's thresholds for this process; return False where there is no mallopt, nothing is lost then.
MMAP_BYTES = 32 << 20  # buffers below this come from the heap

_M_TRIM_THRESHOLD = -1  # <malloc.h>
_M_MMAP_THRESHOLD = -3


def keep_freed_memory() -> bool:
    """
    Set glibc's thresholds for this process; return False where there is no mallopt (nothing is lost then).

    Set glibc's thresholds for this process; return False where there is no mallopt, nothing is lost then.
    Set glibc's thresholds for this process; return False where there is no mallopt, nothing is lost then.
    the process starts.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES) and mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES))
