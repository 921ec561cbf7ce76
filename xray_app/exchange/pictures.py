"""The pictures of a data set, found by the names that label files give them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from PIL import Image

from xray_app.errors import BadDataset
from xray_app.exchange.dataset import IMAGE_SUFFIXES, Problem, Unusable, inside

ROTATED = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""
MASK_FOLDERS = frozenset({"segmentationclass", "segmentationobject", "masks", "mask"})
"""Their PNGs are labels, not scans."""


class NotFound(LookupError):
    """No picture, or no single one, has a name; the text says which of both."""


class Pictures:
    """All pictures below a folder, by name."""

    def __init__(self, root: Path, passed_over: Iterable[str] = ()) -> None:
        """Looks through `root`, but not into folders of the names `passed_over` (lower case)."""
        self.root = root
        passed = frozenset(passed_over)
        self.all = [
            path
            for path in sorted(root.rglob("*"))
            if path.suffix.lower() in IMAGE_SUFFIXES
            and path.is_file()
            and not passed.intersection(part.lower() for part in path.relative_to(root).parts[:-1])
        ]
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for path in self.all:
            self._by_name.setdefault(_key(path.name), []).append(path)
            self._by_stem.setdefault(_key(path.stem), []).append(path)

    def find(self, name: str, near: Sequence[Path] = ()) -> Path:
        """The picture of this name.

        It may be written with backslashes, percent signs, other accents or case, or with folders of another
        machine before it, as long as one picture alone fits best.

        Args:
            name: as the label file has it.
            near: folders in which the very name is looked for first.

        Raises:
            NotFound: no picture, or several that fit as well.
            BadDataset: it lies outside the data set.
        """
        spellings = _spellings(name)
        for spelling in spellings:
            for folder in near:
                try:
                    if (folder / spelling).is_file():
                        return inside(Path(os.path.normpath(folder / spelling)), self.root)
                except (OSError, ValueError):  # a name too long, or with a NUL in it
                    break
        for spelling in spellings:
            parts = spelling.split("/")
            if twins := self._by_name.get(_key(parts[-1])):
                return self._best(twins, parts, Path.as_posix)
        raise NotFound(f"{name[:200]!r} is missing")

    def of_stem(self, stem: str, label_file: Path, alone: bool) -> Path:
        """The picture that goes with a label file: of its stem, beside it rather than anywhere.

        Args:
            stem: the picture's name without its ending.
            label_file: what labels it.
            alone: no other label file has this stem, so that a picture anywhere is its own.

        Raises:
            NotFound: no picture, or several that fit as well.
            BadDataset: it lies outside the data set.
        """
        twins = self._by_stem.get(_key(stem))
        if not twins:
            raise NotFound("its picture is missing")
        beside = [path for path in twins if path.parent == label_file.parent]
        if not beside:  # JPEGImages beside Annotations, images beside labels
            beside = [path for path in twins if path.parent.parent == label_file.parent.parent]
        if not beside and not alone:
            raise NotFound("its picture is missing")
        return self._best(beside or twins, [stem], lambda path: path.with_suffix("").as_posix())

    def _best(self, twins: Sequence[Path], parts: Sequence[str], text_of: Callable[[Path], str]) -> Path:
        """The one picture whose path ends most like `parts`: in folders first, then in accents, then in case."""
        for same in (_key, lambda text: unicodedata.normalize("NFC", text), str):
            if len(twins) == 1:
                break
            ends = [_common_end(text_of(path).split("/"), parts, same) for path in twins]
            twins = [path for path, end in zip(twins, ends, strict=True) if end == max(ends)]
        if len(twins) > 1:
            raise NotFound(f"its picture is there {len(twins)} times")
        return inside(twins[0], self.root)


def _common_end(path: Sequence[str], parts: Sequence[str], same: Callable[[str], str]) -> int:
    count = 0
    for ours, theirs in zip(reversed(path), reversed(parts), strict=False):
        if same(ours) != same(theirs):
            break
        count += 1
    return count


def _key(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _spellings(name: str) -> list[str]:
    """The ways a name may be meant: as it stands, with its percent signs decoded, and out of an address."""
    plain = name[:4000].replace("\\", "/")
    found = [plain, unquote(plain)]
    if "://" in plain or plain.startswith("/data/"):  # Label Studio writes /data/local-files/?d=images/a.png
        address = urlsplit(plain)
        found += [unquote(address.path), *parse_qs(address.query).get("d", [])]
    kept = []
    for one in found:
        parts = [part for part in one.split("/") if part not in ("", ".")]
        if one.startswith("/") or (parts and ":" in parts[0]):
            parts = parts[-8:]  # a path of another machine: its end is what counts
        if parts and "/".join(parts) not in kept:
            kept.append("/".join(parts))
    return kept


def picture_size(image: Path) -> tuple[int, int]:
    """Width and height of the upright picture, from its header.

    Raises:
        Unusable: it is no picture.
    """
    try:
        with Image.open(image) as opened:
            opened.verify()
        with Image.open(image) as opened:
            width, height = opened.size
            if opened.getexif().get(0x0112) in ROTATED:
                width, height = height, width
    except Exception as error:  # Pillow raises many kinds; each means it is no picture we can use
        raise Unusable(Problem(image, "unreadable file", f"not a readable picture ({error})")) from error
    return width, height


def found_for(file: Path, labels: Iterable[str], find: Callable[[], Path]) -> Path:
    """The picture that `find` gives.

    Raises:
        Unusable: it gives none; the problem names `file`, and `labels` are lost with it.
    """
    try:
        return find()
    except NotFound as error:
        raise Unusable(Problem(file, "missing image", str(error)), labels=labels) from error
    except BadDataset as error:
        raise Unusable(Problem(file, "outside the data set", error.message), labels=labels) from error
