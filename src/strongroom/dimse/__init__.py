"""
DIMSE messages (PS3.7): command sets in and out, and the pairing of each command with the data set that follows it.

No input or output and no clock here. Data sets pass through as the views they came in; nothing gathers them.
"""

from __future__ import annotations

from strongroom.dimse.assembler import Assembler, DataFragment, MessageReceived, ReceivedValue
from strongroom.dimse.messages import (
    CCancelRequest,
    CEchoRequest,
    CEchoResponse,
    CFindRequest,
    CFindResponse,
    CGetRequest,
    CGetResponse,
    CMoveRequest,
    CMoveResponse,
    CStoreRequest,
    CStoreResponse,
    Message,
    NRequest,
    NResponse,
    Request,
    Response,
    decode,
    encode,
)

__all__ = [
    "Assembler",
    "CCancelRequest",
    "CEchoRequest",
    "CEchoResponse",
    "CFindRequest",
    "CFindResponse",
    "CGetRequest",
    "CGetResponse",
    "CMoveRequest",
    "CMoveResponse",
    "CStoreRequest",
    "CStoreResponse",
    "DataFragment",
    "Message",
    "MessageReceived",
    "NRequest",
    "NResponse",
    "ReceivedValue",
    "Request",
    "Response",
    "decode",
    "encode",
]
