"""DICOM files for the tests, made from arrays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    RLELossless,
)

from xray_app.scan.read import Limits, read_scan

LIMITS = Limits(8 * 2**20, 4_000_000)
DX = "1.2.840.10008.5.1.4.1.1.501.2.1"  # DICOS DX, for presentation
ROWS, COLUMNS = 60, 80
PERSONAL = {
    "PatientName": "Doe^Jane", "PatientID": "PASSPORT-4711", "PatientBirthDate": "19700101",
    "OperatorsName": "Guard^Gus", "InstitutionName": "Secret Airport", "AccessionNumber": "FLIGHT-99",
    "StudyDescription": "Doe hand luggage", "StudyDate": "20260101", "BoardingPassID": "BOARD-1",
    "ItineraryID": "ITIN-1",
}  # fmt: skip
Values = Any


def ramp(highest: int, dtype: type = np.uint16) -> Values:
    return np.tile(np.linspace(0, highest, COLUMNS), (ROWS, 1)).astype(dtype)


def make(pixels: Values, syntax: str = ExplicitVRLittleEndian, raw: bytes | None = None, **fields: Any) -> bytes:
    """A DICOM file of these pixels: (rows, columns), (frames, rows, columns) or, in colour, (rows, columns, 3)."""
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    rows, columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = DX
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4.5"
    dataset.Modality, dataset.Manufacturer, dataset.DICOSVersion = "DX", "Scanner Works", "V03"
    for name, value in PERSONAL.items():
        setattr(dataset, name, value)
    private = dataset.private_block(0x0011, "ACME", create=True)
    private.add_new(1, "LO", "Doe private")
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    if pixels.ndim == 3 and not colour:
        dataset.NumberOfFrames = len(pixels)
    for name, value in fields.items():
        setattr(dataset, name, value)
    data = pixels.astype(pixels.dtype.newbyteorder(">")) if syntax == ExplicitVRBigEndian else pixels
    dataset.PixelData = raw if raw is not None else data.tobytes()
    dataset["PixelData"].VR = "OW" if bits > 8 and raw is None else "OB"
    dataset["PixelData"].is_undefined_length = UID(syntax).is_encapsulated
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def again(content: bytes, **fields: Any) -> bytes:
    """The same file with other fields; None takes one away."""
    dataset = dcmread(io.BytesIO(content))
    for name, value in fields.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return _written(dataset)


def deflated(content: bytes) -> bytes:
    dataset = dcmread(io.BytesIO(content))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return _written(dataset)


def run_length_encoded(content: bytes) -> bytes:
    dataset = dcmread(io.BytesIO(content))
    dataset.compress(RLELossless, encoding_plugin="pydicom")
    return _written(dataset)


def _written(dataset: Dataset) -> bytes:
    out = io.BytesIO()
    dcmwrite(out, dataset)
    return out.getvalue()


def item(**fields: Any) -> Dataset:
    dataset = Dataset()
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def dual() -> Values:
    """Both energies of a bag: nothing, a bottle, steel, and lead through which nothing comes."""
    low, high = np.full((2, ROWS, COLUMNS), 60000.0)
    low[:, 20:40], high[:, 20:40] = 60000 * np.exp(-0.6 * 1.28), 60000 * np.exp(-0.6)
    low[:, 40:60], high[:, 40:60] = 60000 * np.exp(-0.8 * 2.3), 60000 * np.exp(-0.8)
    low[:, 60:], high[:, 60:] = 0, 0
    return np.stack([low, high]).astype(np.uint16)


def types_of_frames(*energies: str) -> Sequence:
    groups = []
    for energy in energies:
        inner = item(FrameType=["ORIGINAL", "PRIMARY", "PROJECTION", energy])
        groups.append(item(CTImageFrameTypeSequence=[inner]))
    return Sequence(groups)


def grey(content: bytes) -> Values:
    """The picture read from a file, (rows, columns); it has no colour."""
    picture = np.asarray(read_scan(content, "bag.dcs", LIMITS).image)
    assert (picture[..., 0] == picture[..., 2]).all()
    return picture[..., 0].astype(int)
