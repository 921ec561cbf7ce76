"""Labels out of one desk and into another, by hand, in a browser."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from tests.browser.conftest import SCREENSHOTS, Desk, Open
from tests.conftest import png
from tests.exchange.test_import import yolo, zipped
from xray_app.store import standing


def picture(page: Any, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"))


def test_a_data_set_comes_in_and_goes_out_again(scripted: Desk, open_desk: Open, tmp_path: Path) -> None:
    files = {f"bag{n}": (png(n), "0 0.5 0.5 0.25 0.25\n") for n in range(5)}
    files["broken"] = (b"no picture at all", "")
    page = open_desk(scripted.url)
    page.get_by_role("tab", name="Export").click()
    page.wait_for_selector("#export-found p:has-text('No scan fits')")
    page.set_input_files("#import-file input[type=file]", str(zipped(yolo(tmp_path / "set", files))))
    page.wait_for_selector("#import-file :text('set.zip')")
    page.click("#import")
    page.wait_for_selector("#import-status:has-text('5 corrections added')")
    assert "images/train/broken.png: not a readable picture" in page.inner_text("#import-status")
    picture(page, "import")
    assert len(standing.accepted(scripted.services.db)) == 5

    page.locator("#export-predictions input").check()
    page.wait_for_selector("#export-found b:has-text('5')")
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(tmp_path / "out.zip")
    assert download.value.suggested_filename.startswith("xray-coco-")
    with zipfile.ZipFile(tmp_path / "out.zip") as opened:
        assert opened.testzip() is None
        assert sum(name.endswith(".png") for name in opened.namelist()) == 5
    page.wait_for_selector("#export-status:has-text('5 scans exported')")
    picture(page, "export")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_unknown_labels_are_asked_about_in_place(scripted: Desk, open_desk: Open, tmp_path: Path) -> None:
    files = {"odd": (png(41), "0 0.5 0.5 0.25 0.25\n1 0.2 0.2 0.2 0.2\n")}
    page = open_desk(scripted.url)
    page.get_by_role("tab", name="Export").click()
    page.set_input_files("#import-file input[type=file]", str(zipped(yolo(tmp_path / "odd", files, "[knife, Bat]"))))
    page.wait_for_selector("#import-file :text('odd.zip')")
    page.locator("#import-labels-only input").check()
    page.click("#import")
    page.wait_for_selector("#import-status:has-text('some labels are unknown here')")
    page.wait_for_selector("#import-meanings table:visible")
    assert page.get_by_label("what Bat is").input_value() == "baton", "what is offered"
    page.click("#import")
    page.wait_for_selector("#import-status:has-text('baton: 1 boxes taken, 0 left out')")
    page.wait_for_selector("#import-meanings", state="hidden")


def test_an_unknown_label_becomes_a_class_by_hand(scripted: Desk, open_desk: Open, tmp_path: Path) -> None:
    rows = "0 0.5 0.5 0.25 0.25\n1 0.2 0.2 0.2 0.2\n2 0.8 0.8 0.2 0.2\n3 0.2 0.8 0.2 0.2\n"
    names = "[laptop, Samurai_sword, Dart, Vape]"
    packed = zipped(yolo(tmp_path / "odd", {"odd": (png(41), rows)}, names))
    page = open_desk(scripted.url)
    page.get_by_role("tab", name="Export").click()
    page.set_input_files("#import-file input[type=file]", str(packed))
    page.wait_for_selector("#import-file :text('odd.zip')")
    page.locator("#import-labels-only input").check()
    page.click("#import")
    page.wait_for_selector("#import-meanings table:visible")
    named = page.get_by_label("name of the new class for Samurai_sword")
    rated = page.get_by_label("status of the new class for Samurai_sword")
    assert not named.is_visible(), "there is no new class as long as nobody wants one"
    assert page.get_by_label("what Dart is").input_value() == "ignore", "what is offered"
    page.get_by_label("what Samurai_sword is").select_option(label="a new class …")
    assert (named.input_value(), rated.input_value()) == ("Samurai sword", "prohibited")
    assert page.evaluate("document.activeElement.value") == "Samurai sword", "it can be typed over at once"
    page.get_by_label("what Vape is").select_option(label="a new class …")
    page.get_by_label("status of the new class for Vape").select_option("restricted")
    page.get_by_label("name of the new class for Vape").fill("vape")
    named.fill("pistol")
    picture(page, "import-meanings")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("#import")
    page.wait_for_selector(".refused-here:has-text('known here already: gun'), :text('known here already: gun')")
    picture(page, "import-meanings-refused")
    assert page.get_by_label("what Vape is").input_value() == "new:", "nothing that was said is lost"
    named.fill("katana")
    page.click("#import")
    page.wait_for_selector("#import-status:has-text('katana: 1 boxes taken, 0 left out')")
    page.wait_for_selector("#import-status:has-text('from now on: katana (prohibited) and vape (restricted)')")
    page.wait_for_selector("#import-meanings", state="hidden")
    picture(page, "import-new-class")
    # Everybody at the desk has it: the lists of the open page, and the bag's risk in Search.
    page.click("#export-label input")
    page.wait_for_selector("[role=option]:has-text('katana')")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Search").click()
    page.wait_for_selector(".match.high:has-text('katana')")
    page.click(".match.high")
    page.wait_for_selector("#banner:has-text('katana')")
    picture(page, "new-class-bag")
    page.reload()  # of a page that is opened from now on also the classes one may have looked for
    page.wait_for_selector(".desk-user")
    page.get_by_role("tab", name="Search").click()
    page.click(".match.high")
    page.wait_for_selector("#banner:has-text('katana')")
    page.click("#scope button")
    page.click("#scope input")
    page.wait_for_selector("[role=option]:has-text('katana')")
    # The next set of this kind asks nothing.
    again = zipped(yolo(tmp_path / "next", {"next": (png(42), rows)}, names))
    page.get_by_role("tab", name="Export").click()
    page.set_input_files("#import-file input[type=file]", str(again))
    page.wait_for_selector("#import-file :text('next.zip')")
    page.click("#import")
    page.wait_for_selector("#import-status:has-text('vape: 1 boxes taken, 0 left out')")


def test_an_analyst_has_no_export(scripted: Desk, open_desk: Open) -> None:
    page = open_desk(scripted.url, "ana")
    assert page.get_by_role("tab", name="Export").count() == 0
    assert page.evaluate("fetch('/v1/export?format=csv').then(answer => answer.status)") == 403
