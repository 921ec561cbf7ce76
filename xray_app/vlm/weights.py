"""The files of a base model's weights: where they are, and the hash that tells one base from another."""

from __future__ import annotations

import hashlib
from pathlib import Path

from xray_app.errors import BadModel

# Above this many bytes of weights their hash is taken over names, sizes, headers and samples instead.
_HASH_IN_FULL = 2 * 1024**3
_HASH_SAMPLES = 64
_HASH_SAMPLE = 1 << 16


def weights_hash(folder: Path) -> str:
    """SHA-256 that tells one base model's weights from another's.

    Covers every safetensors file: whole, or for very large models its name, size, header and samples of
    its bytes all along it. RolmOCR differs from the Qwen2.5-VL it was made of in these bytes alone.
    """
    digest = hashlib.sha256()
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadModel(f"{folder} holds no .safetensors weights; other formats are not loaded.")
    whole = sum(file.stat().st_size for file in files) <= _HASH_IN_FULL
    for file in files:
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as handle:
            if whole:
                for chunk in iter(lambda: handle.read(1 << 20), b""):
                    digest.update(chunk)
            else:
                length = int.from_bytes(handle.read(8), "little")
                digest.update(handle.read(min(length, 1 << 26)))
                size = file.stat().st_size
                for place in range(handle.tell(), size, max(size // _HASH_SAMPLES, _HASH_SAMPLE)):
                    handle.seek(place)
                    digest.update(handle.read(_HASH_SAMPLE))
    return digest.hexdigest()


def resolve_folder(name: str) -> Path:
    """The folder of a model given as a folder or a Hub id.

    Raises:
        BadModel: there is no such folder and the Hub has, or reaches, no such model.
    """
    if (folder := Path(name)).is_dir():
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.jinja"]))
    except Exception as error:
        raise BadModel(
            f"The model {name!r} is neither a folder here nor could it be fetched from the hub: {error}"
        ) from error
