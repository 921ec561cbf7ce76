"""The errors a person gets to read: each says what happened and what to do about it."""

from __future__ import annotations

from typing import Any, ClassVar

OUT_OF_MEMORY = ("out of memory", "allocate memory", "bad_alloc", "bad allocation")
"""As PyTorch, CUDA, ONNX Runtime and the C++ library put it."""


class DeskError(Exception):
    """An error with a message written for the person in front of the screen.

    Attributes:
        code: stable machine-readable word, used in the API's error envelope.
        http_status: the HTTP status the API answers with.
        details: optional JSON-able facts that help to put it right.
        beside: id of the field of a page that it is about, where one says so.
    """

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 422
    beside: str | None = None

    def __init__(self, message: str, *, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class BadScan(DeskError):
    """The uploaded bytes are not a scan we can read."""

    code = "bad_scan"


class ScanTooLarge(DeskError):
    """More bytes than XRAY_MAX_UPLOAD_MB allows."""

    code = "too_large"
    http_status = 413


class BadInput(DeskError):
    """A value sent to us is out of range or makes no sense."""

    code = "bad_input"


class NeedsNote(BadInput):
    """A bag that stands at HIGH is to be cleared, and nobody says why."""

    code = "needs_note"


class UnknownLabel(BadInput):
    """A label that neither is a class of the taxonomy nor an alias of one."""

    code = "unknown_label"


class BadTaxonomy(DeskError):
    """The taxonomy file is wrong; the message names the line."""

    code = "bad_taxonomy"


class BadDataset(DeskError):
    """A data set on disk is wrong; the message names file and line."""

    code = "bad_dataset"


class BadBackup(DeskError):
    """A backup that is not whole: broken off, damaged, or of a newer version."""

    code = "bad_backup"


class BadCalibration(DeskError):
    """Bags from which no calibration of the threat score can be made."""

    code = "bad_calibration"


class BadRecipe(DeskError):
    """A training recipe is unknown or holds an unknown key."""

    code = "bad_recipe"


class BadModel(DeskError):
    """Weights or an adapter that cannot be loaded, or do not fit the base model."""

    code = "bad_model"


class ModelUnavailable(DeskError):
    """A model on another server did not answer, or not with anything that can be used."""

    code = "model_unavailable"
    http_status = 503


class NotSignedIn(DeskError):
    """No token, or one that is unknown, expired or revoked."""

    code = "not_signed_in"
    http_status = 401


class RemoteUserRefused(NotSignedIn):
    """The proxy before the desk names somebody who is not let in."""


class Forbidden(DeskError):
    """The user's role does not allow this."""

    code = "forbidden"
    http_status = 403


class NotFound(DeskError):
    """No row has this id."""

    code = "not_found"
    http_status = 404


class Conflict(DeskError):
    """Somebody else was first, or the gate refuses."""

    code = "conflict"
    http_status = 409


class InProgress(Conflict):
    """The same request, sent before, is still being worked on; its answer is there a little later."""

    code = "in_progress"


class Throttled(DeskError):
    """Too many failed sign-ins."""

    code = "throttled"
    http_status = 429


class Busy(DeskError):
    """The analysis queue is full."""

    code = "busy"
    http_status = 503


class StorageFailed(DeskError):
    """The data folder or the database cannot be written (disk full, read-only)."""

    code = "storage_failed"
    http_status = 503


class OutOfMemory(DeskError):
    """A model needed more memory than there was."""

    code = "out_of_memory"
    http_status = 503


class Stopped(Exception):
    """Somebody cancelled a long task: an export, an import or a training run. It is no fault, so it has no message."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short here: PyTorch and ONNX Runtime say so in errors of their own, in words alone.

    An error that is already written for a person stays what it is, as where another server's memory is meant.
    """
    if isinstance(error, DeskError):
        return False
    words = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in words for sign in OUT_OF_MEMORY)
