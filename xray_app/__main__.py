"""The command line of the desk: scans, labels, users, backups. `python -m xray_app --help`."""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from sqlalchemy import make_url

from xray_app import auth
from xray_app.errors import BadScan, DeskError, Forbidden, ModelUnavailable, NotFound, OutOfMemory, ScanTooLarge
from xray_app.exchange.formats import FORMATS
from xray_app.settings import Settings
from xray_app.site_classes import MEASURED_ANEW, new_class
from xray_app.store import adapters
from xray_app.store import users as stored_users
from xray_app.store.database import Database
from xray_app.store.site_taxonomy import add as add_classes
from xray_app.store.site_taxonomy import added as added_classes
from xray_app.store.site_taxonomy import site_taxonomy
from xray_app.types import AdapterKind, Role, Status

if TYPE_CHECKING:
    from xray_app.analysis import Analyser
    from xray_app.scan.read import Limits, Scan

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The X-ray screening desk.",
)
users = typer.Typer(no_args_is_help=True, help="Who may use the desk.")
app.add_typer(users, name="users")
classes = typer.Typer(no_args_is_help=True, help="The classes of this site.")
app.add_typer(classes, name="classes")

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


@app.command()
def analyze(
    scans: Annotated[list[Path], typer.Argument(metavar="SCAN...", show_default=False)],
) -> None:
    """Prints one line of JSON a scan; a broken file is reported on stderr, the rest go on, exit 1.

    So is a scan that a model on another server gives no answer to. A DICOM file of several views gives several lines.
    """
    from xray_app.analysis import BATCH
    from xray_app.scan.read import Limits

    settings = Settings()
    analyser = _load_analyser(settings)
    limits = Limits(settings.max_upload_bytes, settings.max_pixels)
    broken = 0
    readable: list[tuple[Path, Scan]] = []
    for path in scans:
        try:
            readable += [(path, scan) for scan in _read(path, limits)]
        except (DeskError, OSError) as error:
            broken += 1
            _tell(path, error)
        # A few scans of the largest size are a batch as well: their pixels wait in memory.
        if len(readable) == BATCH or sum(scan.width * scan.height for _, scan in readable) > limits.max_pixels:
            broken += _analyse_and_print(analyser, readable)
            readable.clear()
    broken += _analyse_and_print(analyser, readable)
    if broken:
        raise typer.Exit(1)


def _analyse_and_print(analyser: Analyser, scans: list[tuple[Path, Scan]]) -> int:
    """Analyses scans together and prints each; returns how many got no answer."""
    try:
        for analysis in analyser.analyse_together([scan for _, scan in scans]):
            print(analysis.model_dump_json(), flush=True)
        return 0
    except (ModelUnavailable, OutOfMemory):
        pass
    unanswered = 0
    for path, scan in scans:  # one of them got no answer, or they are too many together: which?
        try:
            print(analyser.analyse(scan).model_dump_json(), flush=True)
        except (ModelUnavailable, OutOfMemory) as error:
            unanswered += 1
            _tell(path, error)
    return unanswered


@app.command("export")
def export(
    out: Annotated[Path, typer.Option(help="the ZIP file to write", show_default=False)],
    format_name: Annotated[
        str,
        typer.Option("--format", help="; ".join(f"{name}: {made.title}" for name, made in FORMATS.items())),
    ] = "coco",
    since: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])] = None,
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])] = None,
    label: str | None = None,
    risk: Annotated[Literal["LOW", "MEDIUM", "HIGH"] | None, typer.Option()] = None,
    analyst: str | None = None,
    predictions: Annotated[bool, typer.Option(help="also scans nobody has corrected, kept apart")] = False,
) -> None:
    """Writes the newest accepted correction of every scan, in a format other programs read."""
    from xray_app.exchange.export import Filter, Progress, write_zip
    from xray_app.scan.read import Limits

    settings = Settings()
    chosen = Filter(since and since.date(), until and until.date(), label, risk, analyst, not predictions)
    progress = Progress()
    limits = Limits(settings.max_upload_bytes, settings.max_pixels)
    db = _open(settings)
    write_zip(out, db, site_taxonomy(db, settings.taxonomy), limits, format_name, chosen, progress)
    for problem in progress.problems:
        print(problem, file=sys.stderr)
    print(f"{out}: {progress.written} scans, {len(progress.problems)} left out.")
    if progress.problems:
        raise typer.Exit(1)


@app.command("import")
def bring_in(
    data: Annotated[Path, typer.Argument(metavar="FOLDER_OR_ZIP", show_default=False)],
    format_name: Annotated[
        str | None, typer.Option("--format", help="yolo, coco, voc, cvat, labelme, opixray …; else found out")
    ] = None,
    author: Annotated[str, typer.Option(help="who vouches for the labels")] = "admin",
    meanings: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="LABEL=CLASS", help="what a label is; CLASS may be ignore, or new:NAME:STATUS"),
    ] = None,
    map_file: Annotated[Path | None, typer.Option(help="YAML `label: class`, or CSV `label,class`; as --map")] = None,
    looked_for: Annotated[
        str | None, typer.Option(metavar="LABELS", help="what was looked for, besides what has a box; or all")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="the set's name, with which its bags' names begin; else its folder's or ZIP's")
    ] = None,
    bag: Annotated[
        str | None,
        typer.Option("--bag", metavar="REGEX", help="over a picture's path in the set: its bag; else folder and name"),
    ] = None,
    labels_only: Annotated[bool, typer.Option("--labels-only", help="keep the labels; analyse no picture")] = False,
    skip_unknown: Annotated[bool, typer.Option(help="leave out boxes of unknown labels")] = False,
) -> None:
    """Takes a labelled data set in as accepted corrections; what is wrong is listed, the rest go on, exit 1.

    What is wrong with the labels is said before any model is loaded. A broken-off import is simply repeated.
    """
    from xray_app.exchange.bag_names import BagNaming, read_column_file
    from xray_app.exchange.import_dataset import import_dataset
    from xray_app.exchange.label_map import mapping_file, mapping_option
    from xray_app.exchange.meanings import Meanings
    from xray_app.exchange.readers import read_dataset
    from xray_app.exchange.source import dataset_name, opened
    from xray_app.intake import Intake, keep_unanalysed
    from xray_app.scan.read import Limits
    from xray_app.scratch_folder import remove_abandoned

    settings = Settings()
    remove_abandoned()
    db = _open(settings)
    _require_author(db, author)
    pairs = [*(mapping_file(map_file) if map_file else []), *(mapping_option(one) for one in meanings or [])]
    said = Meanings.read(pairs, site_taxonomy(db, settings.taxonomy))
    if said.new and not stored_users.get(db, author).role.includes(Role.ADMIN):
        raise Forbidden(f"Only an admin adds classes, which {author} is not; name one with --author.")
    labels = said.label_map(db, skip_unknown, looked_for)
    taxonomy = labels.taxonomy
    naming = BagNaming(dataset or dataset_name(data), bag)
    with opened(data) as root:
        naming = replace(naming, said=read_column_file(root))
        found = read_dataset(root, labels, format_name)
        said.keep(db, author)
        for line in (*found.notes, *found.problems):
            print(line.replace(f"{root}/", ""), file=sys.stderr, flush=True)
        limits = Limits(settings.max_upload_bytes, settings.max_pixels)
        if labels_only:
            rules = taxonomy.rules(settings.policy)
            done = import_dataset(
                found, root, db, taxonomy, lambda scan: keep_unanalysed(db, scan, rules, author), limits, author,
                naming=naming,
            )  # fmt: skip
        else:
            intake = Intake(db, _load_analyser(settings), limits)
            done = import_dataset(
                found, root, db, taxonomy, lambda scan: intake.take_in([scan], author)[0], limits, author,
                naming=naming,
            )  # fmt: skip
    for problem in done.problems[len(found.problems) :]:
        print(problem, file=sys.stderr)
    print(f"{done.format_name}: {done.added} added, {done.already} here already, {len(done.problems)} left out.")
    for line in done.boxes.lines():
        print(line)
    if done.boxes.lost:
        typer.secho(f"{done.boxes.lost:,} boxes were left out.", fg=typer.colors.RED, err=True)
    if not done.whole:
        raise typer.Exit(1)


@app.command()
def backup(target: Annotated[Path, typer.Argument(metavar="TARGET", show_default=False)]) -> None:
    """Takes a backup of database, scans, adapters and runs into a folder; the desk may be at work meanwhile.

    A backup into the folder of an earlier one copies what is new and replaces it once it is whole. What is missing or
    damaged in the data folder is listed, the rest is kept, exit 1.
    """
    from xray_app.store.backup import take

    settings = Settings()
    taken = take(settings.sqlalchemy_url, settings.data_dir, target)
    for line in taken.manifest.lacking:
        print(line, file=sys.stderr)
    files = taken.manifest.files
    size = sum(file.size for file in (taken.manifest.database, *files))
    print(
        f"{target}: a backup of {taken.manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC, {len(files):,} files and the "
        f"database, {size:,} bytes; {taken.copied:,} files were copied, the others were there."
    )
    if taken.manifest.lacking:
        raise typer.Exit(1)


@app.command()
def restore(source: Annotated[Path, typer.Argument(metavar="SOURCE", show_default=False)]) -> None:
    """Brings a backup back into an empty data folder; every file is held against its hash."""
    from xray_app.store.restore import restore as bring_back

    settings = Settings()
    manifest = bring_back(source, settings.sqlalchemy_url, settings.data_dir)
    for line in manifest.lacking:
        print(f"lacking since the backup was taken: {line}", file=sys.stderr)
    print(
        f"{settings.data_dir}: restored as it was on {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC, "
        f"{len(manifest.files):,} files and the database."
    )


def _require_author(db: Database, author: str) -> None:
    """Refuses (NotFound) an author nobody knows, and says which user to make."""
    try:
        stored_users.get(db, author)
    except NotFound as error:
        raise NotFound(
            f"There is no user {author}, who would vouch for these labels. Make one first: "
            f"python -m xray_app users add {author} --role admin; or name another with --author."
        ) from error


@users.command("add")
def add_user(name: Name, role: Annotated[Role, typer.Option(show_default=False)]) -> None:
    """Adds a user. The password is asked for, or read from stdin; without one it is made up and printed."""
    password, made_up = _new_password()
    auth.add_user(_open(Settings()), name, password, role)
    print(f"Added {name} ({role.value})." + (f" Password: {password}" if made_up else ""))


@users.command("list")
def list_users() -> None:
    """Lists the users: name, role, and who is disabled."""
    for user in stored_users.all_users(_open(Settings())):
        print(f"{user.username}\t{user.role.value}" + ("\tdisabled" if user.disabled else ""))


@users.command("passwd")
def set_password(name: Name) -> None:
    """Sets a new password and ends the user's sessions. The password comes as with `add`."""
    password, made_up = _new_password()
    auth.set_password(_open(Settings()), name, password)
    print(f"{name} has a new password." + (f" Password: {password}" if made_up else ""))


@users.command("disable")
def disable_user(name: Name) -> None:
    """Disables a user and ends their sessions at once."""
    auth.disable_user(_open(Settings()), name)
    print(f"{name} is disabled.")


@classes.command("add")
def add_class(
    name: Name,
    status: Annotated[Status, typer.Option(help="what the site's rules say of it")] = Status.PROHIBITED,
    by: Annotated[str, typer.Option(help="who adds it; goes into the audit log")] = "command line",
) -> None:
    """Adds a class beside those of the taxonomy file, which stays as it is. A desk at work knows it from now on.

    It is never taken back, for records will name it; the file has the last word on what it names.
    """
    settings = Settings()
    db = _open(settings)
    known = site_taxonomy(db, settings.taxonomy)
    new = new_class(name, status, known)
    add_classes(db, known, [new], by)
    print(f"Added {new.name} ({new.status.value}). {MEASURED_ANEW}")


@classes.command("list")
def list_classes() -> None:
    """Lists the classes in the order of reports: name, status, and of those added here when and by whom."""
    settings = Settings()
    db = _open(settings)
    taxonomy, whose = site_taxonomy(db, settings.taxonomy), {one.name: one for one in added_classes(db)}
    for name in taxonomy.names:
        item = taxonomy.resolve(name)
        one = whose.get(name) if item.added else None
        print(f"{name}\t{item.status.value}" + (f"\tadded {one.created_at:%Y-%m-%d} by {one.by}" if one else ""))


def _open(settings: Settings) -> Database:
    return Database.open(settings.sqlalchemy_url, settings.data_dir)


def _new_password() -> tuple[str, bool]:
    """A password, and whether it was made up here."""
    if sys.stdin.isatty():
        return typer.prompt("Password", hide_input=True, confirmation_prompt=True), False
    piped = sys.stdin.readline().rstrip("\r\n")
    return (piped, False) if piped else (secrets.token_urlsafe(12), True)


def _load_analyser(settings: Settings) -> Analyser:
    """Both models, loaded once. Imported here: managing users needs no torch."""
    # On stderr stand reports of broken files alone: no progress bars, and no warning, given when it is
    # imported, of a kernel that only 4-bit models on CPUs would miss.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    from xray_app.analysis import ActiveAdapter, Analyser
    from xray_app.detector.load import load_detector
    from xray_app.taxonomy import load_taxonomy
    from xray_app.vlm.load import load_vlm

    db = _open(settings) if _has_database(settings) else None
    taxonomy = site_taxonomy(db, settings.taxonomy) if db else load_taxonomy(settings.taxonomy)
    vlm, detector = load_vlm(settings, taxonomy), load_detector(settings, taxonomy)

    def active(kind: AdapterKind, base_sha256: str) -> ActiveAdapter | None:
        adapter = adapters.active(db, kind, base_sha256) if db else None
        return ActiveAdapter(adapter.id, adapters.folder(db, adapter.id), adapter.trial) if db and adapter else None

    # The same for the whole list, though another be promoted meanwhile: its lines can be compared.
    adapter, promoted = active("vlm-adapter", vlm.weights_sha256), active("detector", detector.sha256)
    return Analyser(
        vlm,
        detector,
        taxonomy.rules(settings.policy),
        lambda: adapter,
        active_detector=lambda: promoted,
    )


def _has_database(settings: Settings) -> bool:
    url = make_url(settings.sqlalchemy_url)
    return url.get_backend_name() != "sqlite" or (url.database is not None and Path(url.database).is_file())


def _read(path: Path, limits: Limits) -> list[Scan]:
    from xray_app.scan.read import read_scans

    size = path.stat().st_size
    if size > limits.max_bytes:
        raise ScanTooLarge(f"The file has {size:,} bytes; at most {limits.max_bytes:,} are taken.")
    if not path.is_file():
        raise BadScan("This is not a file.")
    return read_scans(path.read_bytes(), path.name, limits)


def _tell(path: Path, error: DeskError | OSError) -> None:
    if isinstance(error, DeskError):
        problem = {"code": error.code, "message": error.message}
    else:
        problem = {"code": "unreadable", "message": error.strerror or str(error)}
    print(json.dumps({"file": str(path), "error": problem}, ensure_ascii=False), file=sys.stderr, flush=True)


def main() -> None:
    """Runs a command; an error written for a person is one line, not a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except DeskError as error:
        print(error.message, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
