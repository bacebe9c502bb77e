"""Legal holds and erasing for good."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

Replies = AsyncGenerator[dict[str, Any]]

OPERATIONS: dict[str, Callable[..., Replies]] = {}
