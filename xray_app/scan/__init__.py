"""Bytes of an upload to a `Scan`: formats, DICOM, pseudo-colour, appearance."""
