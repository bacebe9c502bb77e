"""
Service class providers (PS3.4): verification, storage, query and retrieve over one association.

`Provider.serve` answers everything that comes on a conversation, with a session as its only way to the archive;
`supported` says which presentation contexts that session gets.
"""

from __future__ import annotations

from strongroom.scp.contexts import extended_answers, supported
from strongroom.scp.dispatch import Provider
from strongroom.scp.exchange import DEFAULT_LIMITS, Limits
from strongroom.scp.ports import Outbound

__all__ = ["DEFAULT_LIMITS", "Limits", "Outbound", "Provider", "extended_answers", "supported"]
