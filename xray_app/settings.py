"""Every setting, once. Read from the environment (`XRAY_*`) or a `.env` file."""

from __future__ import annotations

import ipaddress
import os
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from xray_app.logs import LogFormat

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "assets"
BUNDLED_VLM = ASSETS / "models" / "vlm"
BUNDLED_DETECTOR = ASSETS / "models" / "detector" / "detector.onnx"

ReportTo = Literal["none", "tensorboard", "mlflow"]
"""Where the figures of a training go besides its own files."""


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is one that this machine alone can reach."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


class Settings(BaseSettings):
    """The settings of one desk. Defaults run on a laptop without GPU or network."""

    model_config = SettingsConfigDict(
        env_prefix="XRAY_",
        env_file=".env",
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,  # some are secret
    )

    data_dir: Path = Path("data")
    database_url: str = Field(default="", description="empty: SQLite in the data folder")
    host: str = "127.0.0.1"
    root_path: str = Field(
        default="", pattern=r"^(/[A-Za-z0-9._~-]+)*/?$", description="where a proxy serves the desk, as in /xray"
    )
    port: int = Field(default=7860, ge=1, le=65535, validation_alias=AliasChoices("XRAY_PORT", "CDSW_APP_PORT"))
    trust_remote_user: bool = Field(
        default=False, description="a proxy's header REMOTE-USER signs in; on loopback alone"
    )
    vlm: str = "bundled"
    vlm_dtype: Literal["auto", "bf16", "fp16", "fp32", "nf4"] = "auto"
    vlm_api_key: SecretStr | None = Field(default=None, description="sent to an openai: server, nowhere else")
    vlm_timeout: float = Field(default=120, gt=0, le=3600, description="seconds an openai: answer may take, retries in")
    vlm_max_tokens: int | None = Field(default=None, ge=16, le=32_768, description="tokens an answer may have")
    vlm_drafts: bool = Field(default=True, description="answers are drafted from the detector's boxes; same words")
    vlm_at_once: int = Field(default=8, ge=1, le=256, description="scans asked of an openai: server at the same time")
    vlm_base: str = Field(default="", description="base model of an openai: vLLM server that is to load adapters")
    detector: str = "bundled"
    detector_sha256: str | None = None
    taxonomy: Path = ASSETS / "taxonomy.yaml"
    policy: str = Field(default="", description="policy profile; empty: the taxonomy file's default")
    review: Literal["off", "required"] = "off"
    admin_password: str | None = None
    max_upload_mb: int = Field(default=50, gt=0)
    max_pixels: int = Field(default=50_000_000, gt=0)
    max_queue: int = Field(default=64, gt=0)
    test_image_share: float = Field(default=0, ge=0, le=0.5, description="share of an analyst's scans that are tests")
    blind_share: float = Field(default=0, ge=0, le=1, description="share of bags decided before the models are shown")
    control_search_share: float = Field(default=0, ge=0, le=1, description="share of bags drawn for a hand search")
    metrics: SecretStr | None = Field(default=None, min_length=16, description="token for /metrics; unset: none")
    log_format: LogFormat = Field(default="text", description="of the log; json: one object a line")
    webhook_url: SecretStr | None = Field(default=None, description="told of runs, candidates, drift; unset: nobody")
    webhook_secret: SecretStr | None = Field(default=None, min_length=16, description="signs what the webhook is sent")
    report_to: ReportTo = Field(default="none", description="where the figures of the desk's VLM runs go besides")
    simulated_bags: int = Field(default=800, ge=2, description="simulated hold-out bags, half of them with a threat")

    @field_validator("webhook_url")
    @classmethod
    def _safe_webhook(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            _check_webhook(url.get_secret_value())
        return url

    @field_validator("trust_remote_user")
    @classmethod
    def _on_loopback_alone(cls, wanted: bool, others: ValidationInfo) -> bool:
        if wanted and not is_loopback(others.data.get("host", "")):
            raise ValueError(
                "who reaches the port may send any name, so that XRAY_HOST has to be a loopback address (127.0.0.1)"
            )
        return wanted

    @cached_property
    def sqlalchemy_url(self) -> str:
        """The database URL, SQLite in the data folder unless another is set."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'xray.db').resolve()}"

    def address(self, path: str) -> str:
        """A path of the desk, as a browser must name it."""
        return f"{self.root_path.rstrip('/')}{path}"

    @property
    def max_upload_bytes(self) -> int:
        return self.max_upload_mb * 1024 * 1024

    @property
    def review_required(self) -> bool:
        """Whether a correction counts only once somebody other than its author has accepted it."""
        return self.review == "required"

    @property
    def demonstration(self) -> bool:
        """Whether a bundled model is serving, which is for trying things out and is never validated."""
        return "bundled" in (self.vlm, self.detector)

    @property
    def served_base(self) -> str:
        """The base model that answers, as a recipe names it; of a remote server, what XRAY_VLM_BASE says."""
        return self.vlm_base or self.vlm

    def as_environment(self) -> dict[str, str]:
        """The environment a child process needs to see the same settings."""
        own = {
            "XRAY_DATA_DIR": str(self.data_dir.resolve()),
            "XRAY_DATABASE_URL": self.sqlalchemy_url,
            "XRAY_VLM": self.vlm,
            "XRAY_VLM_DTYPE": self.vlm_dtype,
            "XRAY_VLM_BASE": self.vlm_base,
            "XRAY_VLM_DRAFTS": "on" if self.vlm_drafts else "off",
            "XRAY_DETECTOR": self.detector,
            "XRAY_TAXONOMY": str(self.taxonomy.resolve()),
            "XRAY_POLICY": self.policy,
            "XRAY_SIMULATED_BAGS": str(self.simulated_bags),
            "XRAY_REPORT_TO": self.report_to,
        }
        if self.vlm_max_tokens is not None:
            own["XRAY_VLM_MAX_TOKENS"] = str(self.vlm_max_tokens)
        if self.detector_sha256:
            own["XRAY_DETECTOR_SHA256"] = self.detector_sha256
        return {**os.environ, **own}


def _check_webhook(address: str) -> None:
    """Raises ValueError, in words that do not repeat the address, for one that nothing may be sent to."""
    if not address.isascii() or not address.isprintable() or " " in address:
        raise ValueError("must be a URL without blanks, line ends or letters beyond ASCII")
    try:
        url = urlsplit(address)
        host, known = url.hostname or "", url.port != 0
    except ValueError:
        host, known = "", False
    if not host or not known or url.scheme not in ("https", "http"):
        raise ValueError("must be a URL as https://HOST/PATH")
    if "@" in url.netloc or "#" in address:
        raise ValueError("must hold neither a user nor a fragment; what it is sent is signed by XRAY_WEBHOOK_SECRET")
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError("must be https: http is for this machine alone (127.0.0.1, ::1, localhost)")
