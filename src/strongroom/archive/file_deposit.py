"""
A file (PS3.10) coming in, from a request or from this machine: its data set through `Session.deposit`.

The preamble is judged and not kept (PS3.10 §7.5, SECURITY C30): a file that is given out has a preamble of zeros.
1. Zeros, or the header of a TIFF, are what the standard has in mind: nothing more is said of them.
2. The beginning of a program or another document: the data set is taken as of any file, and the file as it came, every
   byte of it, is kept sealed in quarantine; a Security Alert tells a person. Both are durable before anybody is
   answered.
3. Other bytes mean nothing: they are dropped, and the record of the deposit says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from strongroom.dicom.part10 import Part10Reader
from strongroom.dicom.preamble import Kind, kind_of
from strongroom.errors import DataSetError, RemoteProtocolError, UnsupportedClassError

if TYPE_CHECKING:
    from collections.abc import Container

    from strongroom.archive.deposit import Deposit, Receipt
    from strongroom.archive.original import Original
    from strongroom.archive.session import Session
    from strongroom.dicom.model import Identity

_MEDIA_DIRECTORY: Final = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage: a DICOMDIR describes files, it is not an instance to keep (PS3.3 F)."""


@final
class FileDeposit:
    """
    One file. Use: `await feed` every piece, then `await finish()` or `await abandon(reason)`.

    All raise what `Deposit` raises, and DataSetError for what is no file of DICOM: `begun` is False then, and nothing
    of it is kept. Of a DICOMDIR or an unknown transfer syntax nothing is kept either. SOP class and instance are what
    the data set says: the File Meta Information often lags behind it.
    """

    __slots__ = ("_deposit", "_original", "_reader", "_session", "_sop_classes", "_study_instance_uid")

    def __init__(
        self, session: Session, *, study_instance_uid: str = "", sop_classes: Container[str] | None = None
    ) -> None:
        self._session = session
        self._study_instance_uid = study_instance_uid
        self._sop_classes = sop_classes
        self._reader = Part10Reader()
        self._deposit: Deposit | None = None
        self._original: Original | None = None

    @property
    def begun(self) -> bool:
        """Whether this is a file of DICOM: its data set has begun."""
        return self._reader.meta is not None

    @property
    def identity(self) -> Identity | None:
        """What the data set says it is, once `finish` has read it."""
        return None if self._deposit is None else self._deposit.identity

    @property
    def stated(self) -> tuple[str, str]:
        """SOP class and instance as the File Meta Information has them; "" where it has not."""
        meta = self._reader.meta
        return ("", "") if meta is None else (meta.media_storage_sop_class_uid, meta.media_storage_sop_instance_uid)

    async def feed(self, view: memoryview) -> None:
        """Take the next bytes of the file, and wait until more may come; the view may be reused afterwards."""
        for fragment in self._reader.feed(view):
            await self._pass_on(fragment)

    async def finish(self) -> Receipt:
        """Close the file and make its data set durable."""
        for fragment in self._reader.finish():
            await self._pass_on(fragment)
        if self._deposit is None:
            raise DataSetError("the file ends where its data set should begin")
        try:
            receipt = await self._deposit.finish()
        except RemoteProtocolError:
            await self._keep_original()  # refused for what it says: neither is lost
            raise
        await self._keep_original()
        return receipt

    async def abandon(self, reason: str) -> None:
        """Forget it; nothing happens when it was finished."""
        if self._original is not None:
            await self._original.forget()
        if self._deposit is not None:
            await self._deposit.abandon(reason)

    async def _keep_original(self) -> None:
        if self._original is not None:
            await self._original.keep(self.identity)

    async def _pass_on(self, fragment: memoryview) -> None:
        if self._deposit is None:
            await self._begin()
        assert self._deposit is not None
        self._deposit.feed(fragment)
        if self._original is not None:
            await self._original.feed(fragment)
        await self._deposit.ready()

    async def _begin(self) -> None:
        meta = self._reader.meta
        assert meta is not None
        if meta.media_storage_sop_class_uid == _MEDIA_DIRECTORY:
            raise UnsupportedClassError("a DICOMDIR is no instance to keep")
        self._deposit = self._session.deposit(
            sop_class_uid="",
            sop_instance_uid="",
            transfer_syntax_uid=meta.transfer_syntax_uid,
            study_instance_uid=self._study_instance_uid,
            sop_classes=self._sop_classes,
        )
        kind = kind_of(meta.preamble)
        self._deposit.foreign_preamble = kind is Kind.FOREIGN
        if kind is Kind.DISGUISE:
            self._original = await self._session.original()
            await self._original.feed(memoryview(self._reader.head))
