"""Routes that take scans in and give analyses out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Request
from fastapi.responses import FileResponse, Response
from starlette.datastructures import UploadFile

from xray_app import types
from xray_app.api.deps import After, Analyst, Desk, Limit, Page, page
from xray_app.api.openapi import answers, form, refuses
from xray_app.errors import BadInput, NotFound
from xray_app.intake import Intake
from xray_app.risk import worst, worst_view
from xray_app.scan.read import Scan, browser_picture
from xray_app.services import Services
from xray_app.session import bearer_token
from xray_app.store import analyses, known_truths, scans, standing
from xray_app.types import Box, Risk, StandingRisk, Value

router = APIRouter(prefix="/v1")

TEXT_FIELDS = {
    "bag_id": "Views of one bag have one name; the scan's SHA-256 where it is left out.",
    "view": "Which side of the bag this is.",
    "scanner_id": "The scanner it comes from.",
}
PICTURES = ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/tiff", "application/dicom")


class Boxes(Value):
    """What the detector alone sees."""

    boxes: tuple[Box, ...]


class Analysis(types.AnalysisStanding):
    """An analysis as it was made, and what its view stands at now: the worst of it and of what people found there."""


class Bag(Value):
    """All analyses of one bag. `risk` is the models' over its worst view, `standing` the worst of it and of people."""

    bag_id: str
    risk: Risk
    standing: StandingRisk
    analyses: tuple[Analysis, ...]


@dataclass(frozen=True)
class Upload:
    """One scan as it was sent, not yet looked into."""

    content: bytes
    filename: str
    bag_id: str | None
    view: str | None
    scanner_id: str | None

    def read(self, intake: Intake) -> list[Scan]:
        """As `Intake.read`."""
        return intake.read(self.content, self.filename, bag_id=self.bag_id, view=self.view, scanner_id=self.scanner_id)


async def _upload(request: Request) -> Upload:
    """The multipart form of an upload: exactly one `file`, and what is known of the scan.

    Raises:
        BadInput: another form than that.
    """
    async with request.form(max_files=2, max_fields=8, max_part_size=4096) as form:
        files = form.getlist("file")
        unknown = sorted(set(form) - {"file", *TEXT_FIELDS})
        if unknown:
            raise BadInput(f"There is no field {unknown[0]!r}: send file, and if known {', '.join(TEXT_FIELDS)}.")
        if len(files) != 1 or not isinstance(files[0], UploadFile):
            raise BadInput("Send exactly one scan, as the multipart field 'file'.")
        facts: dict[str, str | None] = {}
        for name in TEXT_FIELDS:
            values = form.getlist(name)
            if len(values) > 1 or not all(isinstance(value, str) for value in values):
                raise BadInput(f"{name}: send it once, as text.")
            facts[name] = str(values[0]).strip() or None if values else None
        return Upload(await files[0].read(), files[0].filename or "", **facts)


@router.post("/analyze", openapi_extra=form(**TEXT_FIELDS))
def analyze(
    who: Analyst, desk: Desk, upload: Annotated[Upload, Depends(_upload)], afterwards: BackgroundTasks
) -> Analysis:
    """Both models over one scan; stores scan and analysis together, or neither.

    Of a DICOM file of several views every view is analysed, and the one with the worst risk answered; the bag has them
    all.
    A test image may join the user's queue afterwards. Scans that come this way are never blind: this answer tells.
    """
    scans_read = upload.read(desk.intake)
    analysed = desk.intake.take_in(scans_read, who.username, drawn=desk.test_images.draw_control)
    afterwards.add_task(desk.test_images.maybe, scans_read[0], who.username)
    return _standing(desk, [worst(analysed, lambda one: one.risk)])[0]


@router.post("/detect", openapi_extra=form())
def detect(who: Analyst, desk: Desk, upload: Annotated[Upload, Depends(_upload)]) -> Boxes:
    """The detector alone; stores nothing."""
    views = upload.read(desk.intake)
    if len(views) > 1:
        raise BadInput(f"The file holds {len(views)} views; send one picture, or use /v1/analyze.")
    return Boxes(boxes=tuple(desk.analyser.detect(views[0])))


@router.get("/analyses")
def list_analyses(who: Analyst, desk: Desk, limit: Limit = 50, after: After = None) -> Page[Analysis]:
    """All analyses, newest first."""
    found, following = analyses.page(desk.db, limit, after)
    return page(_standing(desk, found), following)


@router.get("/analyses/{analysis_id}", responses=refuses(409))
def get_analysis(analysis_id: str, who: Analyst, desk: Desk) -> Analysis:
    """One analysis, as it was made, and what its view stands at now."""
    return _standing(desk, [analyses.get(desk.db, analysis_id)])[0]


@router.get(
    "/scans/{scan_id}/image",
    response_class=Response,
    responses={200: answers(*PICTURES), 304: {"description": "As the ETag sent says."}},
)
def scan_image(scan_id: str, request: Request, who: Analyst, desk: Desk) -> Response:
    """The picture: byte for byte to a program with a token, as every browser shows it to the desk."""
    path, media_type = scans.scan_path(desk.db, scan_id)
    program = bearer_token(request.headers) is not None
    headers = {
        # Asked for anew each time, so that nothing is seen after signing out; the tag saves the sending.
        "Cache-Control": "private, no-cache",
        "ETag": f'"{scan_id}"' if program else f'"{scan_id}-shown"',
        "Content-Disposition": f'inline; filename="{scan_id}{path.suffix}"',
    }
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if program:
        return FileResponse(path, media_type=media_type, headers=headers)
    content, shown_type = browser_picture(path.read_bytes(), desk.limits)
    if shown_type != media_type:
        headers["Content-Disposition"] = f'inline; filename="{scan_id}.png"'
    return Response(content, media_type=shown_type, headers=headers)


@router.get("/bags/{bag_id:path}")
def get_bag(bag_id: str, who: Analyst, desk: Desk) -> Bag:
    """All analyses of a bag; its risk and what it stands at are those of its worst view."""
    found = analyses.of_bag(desk.db, bag_id)
    if not found:
        raise NotFound(f"No scan of a bag {bag_id!r} was analysed.")
    stands = standing.of_bag(desk.db, bag_id).risk
    return Bag(bag_id=bag_id, risk=worst_view(found), standing=stands, analyses=tuple(_standing(desk, found)))


def _standing(desk: Services, found: Sequence[types.Analysis]) -> list[Analysis]:
    ids = [one.scan.bag_id for one in found]
    bags, drawn = standing.of_bags(desk.db, ids), known_truths.drawn(desk.db, ids)
    return [
        Analysis(**dict(one), standing=bags[one.scan.bag_id].of_view(one), control_search=one.scan.bag_id in drawn)
        for one in found
    ]
