"""A data set read in a process of its own, which can be ended at once.

A stranger's ZIP and label files can hold a parser up for as long as they like, and with it every thread of the process
it works in. So the server lets a child unpack, parse and decode; the child has no database and no models. What it
finds comes through a pipe as JSON and pixels, never as pickled objects, and is checked as it comes.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from PIL import Image

from xray_app.errors import BadDataset, DeskError, Stopped, UnknownLabel
from xray_app.exchange.bag_names import BagNaming, read_column_file
from xray_app.exchange.incoming import Incoming, ReadPicture, UnusablePicture, incoming
from xray_app.exchange.label_map import LabelMap
from xray_app.exchange.readers import read_dataset
from xray_app.exchange.source import dataset_name, opened
from xray_app.scan.decoding import Limits
from xray_app.scan.picture import check_size
from xray_app.scan.read import Scan
from xray_app.scratch_folder import scratch_folder
from xray_app.settings import ROOT
from xray_app.types import CorrectionIn

MODULE = "xray_app.exchange.reader_process"
MAX_MESSAGE = 64 * 2**20
"""Bytes of JSON of one message: a picture's correction may hold 500 outlines of 1,000 points."""
MAX_LINE = 1000
"""Characters of a problem or a note."""
RECEIVING = 8
"""Bytes a pixel takes while it is received: those of the pipe, and the picture."""
NICENESS = 10
"""As of a training run: people at the desk go first."""
STOP_SECONDS = 0.2
"""How often it is looked whether the child is to be ended."""
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl

Header = dict[str, Any]


@contextmanager
def read_in_own_process(
    file: Path, labels: LabelMap, naming: BagNaming, limits: Limits, stop: threading.Event
) -> Iterator[Incoming]:
    """Gives a data set that a child reads meanwhile; at the block's end the child is gone, with what it has unpacked.

    Where this process dies, the child dies with it (at once on Linux, elsewhere with its next message), and what it
    has unpacked goes at the next `remove_abandoned`.

    Args:
        file: a folder or a ZIP.
        labels: what its labels are here.
        naming: of the bags; without a data set's name, the file's own. A column file in the set is read too.
        limits: bytes and pixels of a picture; the room its pixels take here, until nobody holds them.
        stop: once it is set, the child is killed.

    Raises:
        DeskError: as `opened`, `read_dataset` and `incoming`, also while pictures are asked for.
        BadDataset: the child was killed, or ended unasked; the message says so.
        Stopped: `stop` was set.
    """
    with scratch_folder() as scratch:
        here, there = Pipe()
        with there:
            child = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(there.fileno()), str(os.getpid())],
                cwd=ROOT,
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # or Ctrl-C in a terminal would reach it before the server
            )
        threading.Thread(target=_end_when_stopped, args=(child, stop), name="import stop", daemon=True).start()
        try:
            with here:
                reader = _Reader(here, child, limits, stop)
                reader.ask(file.resolve(), scratch, labels, naming)
                yield reader.incoming()
        finally:
            child.kill()
            child.wait()


def _end_when_stopped(child: subprocess.Popen[bytes], stop: threading.Event) -> None:
    while child.poll() is None:
        if stop.wait(STOP_SECONDS):
            child.kill()
            return


@dataclass(frozen=True)
class _Reader:
    """The server's end of the pipe."""

    pipe: Connection
    child: subprocess.Popen[bytes]
    limits: Limits
    stop: threading.Event

    def ask(self, file: Path, scratch: Path, labels: LabelMap, naming: BagNaming) -> None:
        with self._explaining():
            self.pipe.send((file, scratch, labels, naming, self.limits.max_bytes, self.limits.max_pixels))

    def incoming(self) -> Incoming:
        said = self._header()
        left_out = Counter({(label, why): count for label, why, count in said["left_out"]})
        return Incoming(
            said["format_name"], said["total"], tuple(said["problems"]), tuple(said["notes"]), left_out,
            self._pictures(),
        )  # fmt: skip

    def _pictures(self) -> Iterator[ReadPicture | UnusablePicture]:
        while "end" not in (said := self._header()):
            if "wanted" in said:
                yield self._picture(said)
            else:
                yield UnusablePicture(tuple(said["labels"]), said["why"], said["problem"])

    def _picture(self, said: Header) -> ReadPicture:
        facts: Header = said["scan"]
        width, height = int(facts["width"]), int(facts["height"])
        check_size(width, height, self.limits)
        content = self._bytes(self.limits.max_bytes)
        with replace(self.limits, patient=True).decoding(width * height, RECEIVING) as work:
            image = work.keep(Image.frombytes("RGB", (width, height), self._bytes(3 * width * height)))
        # The hash is the picture's name here, so it is taken of the very bytes that are stored.
        scan = Scan(image=image, content=content, sha256=hashlib.sha256(content).hexdigest(), **facts)
        return ReadPicture(scan, CorrectionIn.model_validate(said["wanted"]), said["bag_said"], said["where"])

    def _header(self) -> Header:
        said: Header = json.loads(self._bytes(MAX_MESSAGE))
        if (refused := said.get("refused")) is not None:
            error = UnknownLabel if refused["code"] == UnknownLabel.code else BadDataset
            raise error(refused["message"], details=refused["details"])
        if (fault := said.get("fault")) is not None:
            raise RuntimeError(f"the process that reads a data set failed:\n{fault}")
        return said

    def _bytes(self, most: int) -> bytes:
        with self._explaining():
            return self.pipe.recv_bytes(most)

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            self.child.kill()
            status = self.child.wait()
            if self.stop.is_set():
                raise Stopped from error
            how = signal.Signals(-status).name if status < 0 else f"status {status}"
            raise BadDataset(
                f"The process that read this data set was ended from outside or broke down ({how}); this machine's "
                "memory may have been too short. What was added stays: import it again to go on."
            ) from error


def main(pipe: Connection, parent: int) -> None:
    """The child: reads the data set it is asked for, and ends."""
    _end_with(parent)
    os.nice(NICENESS)
    with suppress(OSError):  # where memory runs out, this process is to go rather than the server
        Path("/proc/self/oom_score_adj").write_text("1000")
    file, scratch, labels, naming, max_bytes, max_pixels = pipe.recv()
    root = scratch
    try:
        with opened(file, scratch) as root:
            found = read_dataset(root, labels)
            bags = replace(naming, dataset=naming.dataset or dataset_name(file), said=read_column_file(root))
            # One picture after the other: nothing here waits for room.
            coming = incoming(found, root, labels.taxonomy, Limits(max_bytes, max_pixels), bags)
            _send(pipe, _summary(coming))
            for picture in coming.pictures:
                _send_picture(pipe, picture)
                del picture  # its pixels, before those of the next are decoded
            _send(pipe, {"end": True})
    except DeskError as error:
        message = error.message.replace(f"{root}/", "")
        _send(pipe, {"refused": {"code": error.code, "message": message, "details": error.details}})
    except BrokenPipeError:
        pass  # nobody listens any more
    except Exception:  # noqa: BLE001 - the server is told and logs it
        _send(pipe, {"fault": traceback.format_exc()[-MAX_MESSAGE // 8 :]})


def _end_with(parent: int) -> None:
    """From now on this process is killed when its parent dies, whatever it is at."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it died before that
        sys.exit(1)


def _summary(coming: Incoming) -> Header:
    return {
        "format_name": coming.format_name,
        "total": coming.total,
        "problems": [problem[:MAX_LINE] for problem in coming.problems],
        "notes": [note[:MAX_LINE] for note in coming.notes],
        "left_out": [(label, why, count) for (label, why), count in coming.left_out.items()],
    }


def _send_picture(pipe: Connection, picture: ReadPicture | UnusablePicture) -> None:
    if isinstance(picture, UnusablePicture):
        _send(pipe, asdict(picture) | {"problem": picture.problem[:MAX_LINE]})
        return
    scan = picture.scan
    facts = {
        "width": scan.width, "height": scan.height, "media_type": scan.media_type, "filename": scan.filename,
        "bag_id": scan.bag_id, "view": scan.view, "scanner_id": scan.scanner_id,
        "opaque_fraction": scan.opaque_fraction, "acquisition": dict(scan.acquisition),
    }  # fmt: skip
    wanted = picture.wanted.model_dump(mode="json")
    _send(pipe, {"scan": facts, "wanted": wanted, "bag_said": picture.bag_said, "where": picture.where[:MAX_LINE]})
    pipe.send_bytes(scan.content)
    pipe.send_bytes(scan.image.tobytes())


def _send(pipe: Connection, header: Header) -> None:
    # A name may hold half a character, which no page can show.
    pipe.send_bytes(json.dumps(header, ensure_ascii=False).encode("utf-8", "replace"))


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])), int(sys.argv[2]))
