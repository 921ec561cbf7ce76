"""Which VLM a setting means."""

from __future__ import annotations

from xray_app.errors import BadModel
from xray_app.settings import BUNDLED_VLM, Settings
from xray_app.vlm.base import Vlm
from xray_app.vlm.local import Dtype, LocalVlm, resolve_folder, weights_hash
from xray_app.vlm.remote import PREFIX, RemoteVlm, load_remote


def load_vlm(settings: Settings) -> Vlm:
    """Loads what `XRAY_VLM` names.

    Raises:
        BadModel: it cannot be loaded; the message says why.
    """
    remote = load_if_remote(settings)
    return load_local(settings.vlm, settings.vlm_dtype) if remote is None else remote


def load_local(name: str, dtype: Dtype = "auto") -> LocalVlm:
    """Loads a model into this process, to train or to measure it here.

    Args:
        name: `bundled`, a Hub id or a folder.
        dtype: the precision.

    Raises:
        BadModel: it cannot be loaded, or is served elsewhere.
    """
    if name == "bundled":
        return LocalVlm.load(str(BUNDLED_VLM), dtype, label="bundled")
    _refuse_remote(name)
    return LocalVlm.load(name, dtype)


def load_if_remote(settings: Settings) -> RemoteVlm | None:
    """The model on another server that `XRAY_VLM` names; None where it names one of this desk's own.

    Raises:
        BadModel: the address is wrong, the key is missing, or there are no weights of `XRAY_VLM_BASE`.
    """
    if not settings.vlm.startswith(PREFIX):
        return None
    base = (settings.vlm_base, base_sha256(settings.vlm_base)) if settings.vlm_base else None
    return load_remote(settings.vlm, settings.vlm_api_key, settings.vlm_timeout, base)


def base_sha256(name: str) -> str:
    """The hash of a base model's weights, without loading it.

    Raises:
        BadModel: there is no such model here, nor can it be fetched.
    """
    _refuse_remote(name)
    return weights_hash(BUNDLED_VLM if name == "bundled" else resolve_folder(name))


def _refuse_remote(name: str) -> None:
    if name.startswith(PREFIX):
        raise BadModel(
            f"{name} is served elsewhere: its weights are not here. Name the base model itself, by folder or Hub id."
        )
