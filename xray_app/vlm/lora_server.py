"""Adapters on a server that loads them while it runs: vLLM's way, and SGLang's."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from xray_app.errors import BadModel
from xray_app.vlm.openai_server import CallFailed, OpenAiServer

logger = logging.getLogger(__name__)

IN_A_ROW = 8
"""Probes over connections of their own that must all find the adapter: behind one address several servers may answer in
turn, each with a list of its own."""
MOST_PROBES = 64
MOST_MISSES = 12
_VISION = ("visual", "vision")


class LoraServer:
    """Loads adapters onto a server, and says by which name a request asks for one."""

    def __init__(self, server: OpenAiServer, model: str) -> None:
        """
        Args:
            server: by its base URL.
            model: the name of the base model there.
        """
        self._server = server
        self._model = model
        self._sglang = False

    def model_name(self, adapter: str) -> str:
        """What a request calls the model with this adapter."""
        return f"{self._model}:{adapter}" if self._sglang else adapter

    def load(self, name: str, folder: Path) -> bool:
        """Has the server load an adapter; whether it is new there. One that it has already is no problem.

        Raises:
            BadModel: it does not; the message names the flags that may be missing.
            ModelUnavailable: it does not answer.
        """
        body = {"lora_name": name, "lora_path": str(folder.resolve())}
        try:
            self._post("load_lora_adapter", body, self._sglang)
        except CallFailed as failed:
            if failed.status != 404 or self._sglang or "No adapter found" in failed.reply:
                self._explain(failed, name, folder)
                return False
            try:  # SGLang has the same call, at the root
                self._post("load_lora_adapter", body, at_root=True)
            except CallFailed as at_root:
                self._explain(failed if at_root.status == 404 else at_root, name, folder)
                self._sglang = True
                return False
            self._sglang = True
        return True

    def load_again(self, name: str, folder: Path, time: int) -> bool:
        """Loads an adapter that a server did not know; whether one finds it new.

        Servers behind a balancer that answer strictly in turn could each be asked by one call and told by another: so
        the first time it is told once, the second time twice, until one finds it new.

        Raises:
            BadModel, ModelUnavailable: see `load`.
        """
        return any(self.load(name, folder) for _ in range(time))

    def spread(self, name: str, folder: Path) -> None:
        """Loads an adapter onto every server that answers at this address, as far as that can be told.

        Each probe has a connection of its own, so that a balancer chooses anew. A server that does not know the adapter
        is told to load it, until all of `IN_A_ROW` probes find it.

        Raises:
            BadModel: some do not load it, or there are too many to reach.
        """
        found = missed = 0
        for _ in range(MOST_PROBES):
            if self._knows(name):
                found += 1
                if found == IN_A_ROW:
                    return
            else:
                found = 0
                missed += 1
                self.load_again(name, folder, missed)
                if missed == MOST_MISSES:
                    break
        raise BadModel(
            f"{self._server.base_url} answers now with the adapter and now without it: several servers seem to stand "
            "behind this address, and not all of them take it. That is not supported; name one server in XRAY_VLM, or "
            "start each with the adapter."
        )

    def _knows(self, name: str) -> bool:
        """Whether the server that answers now has the adapter: it is asked for one token of it."""
        question: dict[str, Any] = {"messages": [{"role": "user", "content": "?"}], "max_tokens": 1}
        try:
            self._server.post("chat/completions", {"model": self.model_name(name), **question}, fresh=True)
        except CallFailed as failed:
            missing = failed.status == 404 or (failed.status == 400 and name in failed.reply)
            if missing:
                return False
            if failed.status is None or failed.passing:
                raise
        return True

    def _post(self, path: str, body: dict[str, Any], at_root: bool) -> None:
        # A server error is final: the engine behind it refused, and says the same again.
        self._server.post(path, body, attempts=1, at_root=at_root, fresh=True)

    def _explain(self, failed: CallFailed, name: str, folder: Path) -> None:
        """Passes over what is no failure, and raises the others with what to do.

        Raises:
            BadModel, ModelUnavailable: see `load`.
        """
        if failed.status == 400 and name in failed.reply and "already" in failed.reply:
            return
        if failed.status is None or failed.status in (401, 408, 429):
            raise failed
        raise BadModel(f"The server did not load the adapter. {failed.message} {hint(folder)}") from failed


def adapter_name(folder: Path) -> str:
    """The name an adapter has on the server: by its content, so that a name never means two things.

    Raises:
        BadModel: there is no PEFT adapter in the folder.
    """
    digest = hashlib.sha256()
    try:
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            digest.update((folder / name).read_bytes())
    except OSError as error:
        raise BadModel(f"The adapter in {folder} cannot be read: {error.strerror or error}.") from error
    return f"xray-{digest.hexdigest()[:16]}"


def hint(folder: Path) -> str:
    """What a server needs in order to serve this adapter as it was trained, with the numbers of this one."""
    try:
        config = json.loads((folder / "adapter_config.json").read_bytes())
        ranks = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
        rank = max(one for one in ranks if isinstance(one, int))
    except (OSError, ValueError, AttributeError, TypeError):
        rank = None
    needs = [
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora",
        f"--max-lora-rank {rank}" if rank else "a --max-lora-rank that is high enough",
        "--max-loras 2 or more",
    ]
    vision = _has_vision_weights(folder)
    if vision is not False:
        why = "this adapter changes the vision tower" if vision else "if the adapter changes the vision tower"
        needs.append(f"--enable-tower-connector-lora ({why})")
    return f"vLLM needs {', '.join(needs)}, and to see the folder {folder.resolve()}."


def _has_vision_weights(folder: Path) -> bool | None:
    """Whether an adapter has weights in the vision tower or connector; None where it cannot be read."""
    try:
        with safe_open(folder / "adapter_model.safetensors", "pt") as weights:
            names = list(weights.keys())
    except (OSError, SafetensorError):
        return None
    return any(part in name for name in names for part in _VISION)
