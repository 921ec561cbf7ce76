"""Which VLM a setting means."""

from __future__ import annotations

from xray_app.errors import BadModel
from xray_app.settings import BUNDLED_VLM, Settings
from xray_app.vlm.local import LocalVlm


def load_vlm(settings: Settings) -> LocalVlm:
    """Loads what `XRAY_VLM` names.

    Raises:
        BadModel: it cannot be loaded; the message says why.
    """
    if settings.vlm == "bundled":
        return LocalVlm.load(str(BUNDLED_VLM), settings.vlm_dtype, label="bundled")
    if settings.vlm.startswith("openai:"):
        raise BadModel("Remote models (openai:MODEL@BASE_URL) are not served by this version yet.")
    return LocalVlm.load(settings.vlm, settings.vlm_dtype)
