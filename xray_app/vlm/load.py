"""Which VLM a setting means."""

from __future__ import annotations

import json
from pathlib import Path

from xray_app.errors import BadModel
from xray_app.settings import BUNDLED_VLM, Settings
from xray_app.taxonomy import Taxonomy
from xray_app.vlm.answer_form import answer_form
from xray_app.vlm.base import Vlm
from xray_app.vlm.coordinates import family_of
from xray_app.vlm.local import MAX_NEW_TOKENS, Dtype, LocalVlm
from xray_app.vlm.remote import MAX_TOKENS, PREFIX, Base, RemoteVlm, load_remote, read_address
from xray_app.vlm.weights import resolve_folder, weights_hash

# What `training.data.training_record` writes beside what a training made.
_TRAINING_RECORD = "training.json"
_TEMPLATE = "chat_template.jinja"


def load_vlm(settings: Settings, taxonomy: Taxonomy) -> Vlm:
    """Loads what `XRAY_VLM` names.

    Args:
        settings: name it.
        taxonomy: its names are told to a model that was not trained on the report.

    Raises:
        BadModel: it cannot be loaded; the message says why.
    """
    remote = load_if_remote(settings, taxonomy)
    if remote is not None:
        return remote
    return load_local(
        settings.vlm,
        settings.vlm_dtype,
        taxonomy=taxonomy,
        max_tokens=settings.vlm_max_tokens,
        drafted=settings.vlm_drafts,
    )


def load_local(
    name: str,
    dtype: Dtype = "auto",
    *,
    taxonomy: Taxonomy | None = None,
    max_tokens: int | None = None,
    drafted: bool = True,
) -> LocalVlm:
    """Loads a model into this process, to train or to measure it here.

    Args:
        name: `bundled`, a Hub id or a folder.
        dtype: the precision.
        taxonomy: its names are told to a model that was not trained on the report, and answers give the probability of
            its prohibited classes; None does neither.
        drafted: drafts of answers are made use of.
        max_tokens: of an answer; None is enough for a report, or for JSON where that is told.

    Raises:
        BadModel: it cannot be loaded, or is served elsewhere.
    """
    if name == "bundled":
        tokens = max_tokens or MAX_NEW_TOKENS
        return LocalVlm.load(
            str(BUNDLED_VLM),
            dtype,
            label="bundled",
            max_new_tokens=tokens,
            taxonomy=taxonomy,
            tell=False,
            drafted=drafted,
        )
    _refuse_remote(name)
    tell = taxonomy is not None and not trained_here(resolve_folder(name))
    tokens = max_tokens or (MAX_TOKENS if tell else MAX_NEW_TOKENS)
    return LocalVlm.load(name, dtype, max_new_tokens=tokens, taxonomy=taxonomy, tell=tell, drafted=drafted)


def load_if_remote(settings: Settings, taxonomy: Taxonomy) -> RemoteVlm | None:
    """The model on another server that `XRAY_VLM` names; None where it names one of this desk's own.

    Raises:
        BadModel: the address is wrong, the key is missing, or there are no weights of `XRAY_VLM_BASE`.
    """
    if not settings.vlm.startswith(PREFIX):
        return None
    base = None
    if settings.vlm_base:
        _refuse_remote(settings.vlm_base)
        base = Base(settings.vlm_base, _folder(settings.vlm_base))
    model = read_address(settings.vlm).model
    folder = base.folder if base else Path(model)  # a server on this machine may name its model by folder
    family = family_of(_model_type(folder) or model)
    form = None if trained_here(folder) else answer_form(taxonomy, boxes=family is not None)
    return load_remote(settings, base, form, family)


def trained_here(folder: Path) -> bool:
    """Whether a model's folder holds one that was trained on the report: the bundled one, one pretrained like it, or
    one fine-tuned in full.

    The bundled model's own template goes with a vocabulary that knows no other words than the report's.
    """
    if (folder / _TRAINING_RECORD).is_file():
        return True
    own, template = BUNDLED_VLM / _TEMPLATE, folder / _TEMPLATE
    return own.is_file() and template.is_file() and template.read_bytes() == own.read_bytes()


def base_sha256(name: str) -> str:
    """The hash of a base model's weights, without loading it.

    Raises:
        BadModel: there is no such model here, nor can it be fetched.
    """
    _refuse_remote(name)
    return weights_hash(_folder(name))


def _folder(name: str) -> Path:
    return BUNDLED_VLM if name == "bundled" else resolve_folder(name)


def _model_type(folder: Path) -> str | None:
    """What the configuration in a model's folder says it is; None without one."""
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refuse_remote(name: str) -> None:
    if name.startswith(PREFIX):
        raise BadModel(
            f"{name} is served elsewhere: its weights are not here. Name the base model itself, by folder or Hub id."
        )
