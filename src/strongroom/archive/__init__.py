"""
The archive behind its gate. Front doors use what is published here and nothing else:

`Gate.admit(credential) -> Session`; a session gives deposits, answers and disclosures. Nothing else makes one.
"""

from __future__ import annotations

from strongroom.archive.committed import MAX_ASKED, Commitment, CommitmentInbox, Reference
from strongroom.archive.credentials import (
    Credential,
    DeviceCredential,
    HostCredential,
    MoveDestination,
    NoCredential,
    Recipient,
    SystemCredential,
    TokenCredential,
    WebCertificateCredential,
)
from strongroom.archive.deposit import Deposit, Outcome, Receipt
from strongroom.archive.disclosure import Disclosure, Instance
from strongroom.archive.file_deposit import FileDeposit
from strongroom.archive.gate import Gate
from strongroom.archive.matches import Match, Matches
from strongroom.archive.session import Session
from strongroom.catalogue.query import Query, Root, Target

__all__ = [
    "MAX_ASKED",
    "Commitment",
    "CommitmentInbox",
    "Credential",
    "Deposit",
    "DeviceCredential",
    "Disclosure",
    "FileDeposit",
    "Gate",
    "HostCredential",
    "Instance",
    "Match",
    "Matches",
    "MoveDestination",
    "NoCredential",
    "Outcome",
    "Query",
    "Receipt",
    "Recipient",
    "Reference",
    "Root",
    "Session",
    "SystemCredential",
    "Target",
    "TokenCredential",
    "WebCertificateCredential",
]
