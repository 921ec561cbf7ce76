"""The route of the browser's code: who gets it, as what, for how long; and what the buttons tell it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import PASSWORD, make_services
from xray_app import auth
from xray_app.types import Role
from xray_app.ui import browser_code, presses
from xray_app.ui.browser_code import FOLDER, MODULES, PLACE, VERSION, mounting
from xray_app.wiring import with_desk

UI = FOLDER.parent


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    services = make_services(tmp_path_factory.mktemp("desk"))
    auth.add_user(services.db, "ann", PASSWORD, Role.ANALYST)
    with TestClient(with_desk(services), follow_redirects=False) as client:
        client.post("/signin", data={"username": "ann", "password": PASSWORD})
        yield client


def test_every_module_is_served_as_javascript_that_may_be_kept(client: TestClient) -> None:
    assert "page.js" in MODULES
    assert "viewer/viewer.js" in MODULES
    for name, code in MODULES.items():
        answer = client.get(f"/{PLACE}/{VERSION}/{name}")
        assert (answer.status_code, answer.content) == (200, code)
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        f"{VERSION}/none.js",
        f"{VERSION}/package.json",
        f"{VERSION}/tests/history.test.js",
        f"{VERSION}/../desk.py",
        f"{VERSION}/%2e%2e/desk.py",
        f"{VERSION}/",
        "0000000000000000/page.js",
    ],
)
def test_nothing_else_is_served_nor_another_version(client: TestClient, path: str) -> None:
    answer = client.get(f"/{PLACE}/{path}")
    assert answer.status_code == 404
    assert "immutable" not in answer.headers.get("cache-control", "")


def test_who_is_not_signed_in_gets_none(client: TestClient) -> None:
    cookies = dict(client.cookies)
    client.cookies.clear()
    assert client.get(f"/{PLACE}/{VERSION}/page.js").status_code == 401
    client.cookies.update(cookies)
    assert client.post(f"/{PLACE}/{VERSION}/page.js").status_code == 401, "a cookie alone reads, and does no more"


def test_the_page_runs_the_modules_before_gradio(client: TestClient) -> None:
    page = client.get("/desk/", headers={"accept": "text/html"}).text
    ours = page.index(f'src="../{PLACE}/{VERSION}/page.js"')
    assert ours < page.index("./assets/index-")
    assert all(f'rel="modulepreload" href="../{PLACE}/{VERSION}/{name}"' in page for name in MODULES)


def test_all_that_is_imported_is_there() -> None:
    for name, code in MODULES.items():
        for imported in re.findall(r'^import .*?"(\.[^"]+)";', code.decode(), re.MULTILINE | re.DOTALL):
            target = (FOLDER / name).parent / imported
            assert target.resolve().relative_to(FOLDER).as_posix() in MODULES, f"{name} imports {imported}"


def test_every_component_mounts_a_module_that_the_page_has_loaded() -> None:
    scripts = "".join(path.read_text(encoding="utf-8") for path in UI.rglob("*.py"))
    mounted = set(re.findall(r'mounting\("([^"]+)"\)', scripts))
    assert mounted == {
        "viewer/viewer.js", "items.js", "intake.js", "strip.js", "picklist.js", "found.js", "label_table.js",
    }  # fmt: skip
    for name in mounted:
        assert "export function mount(" in MODULES[name].decode()
        assert f'import "./{name}";' in MODULES["page.js"].decode()
        assert VERSION in mounting(name)


def test_the_address_changes_with_any_module(monkeypatch: pytest.MonkeyPatch) -> None:
    before = browser_code.version_of(MODULES)
    assert before == VERSION
    assert browser_code.version_of({**MODULES, "theme.js": b"// another"}) != before
    assert browser_code.version_of({("x" + name): code for name, code in MODULES.items()}) != before


def test_both_sides_name_the_same_guards() -> None:
    server = {value for name, value in vars(presses).items() if name.isupper()}
    browser = set(re.findall(r'^export const [A-Z_]+ = "(press-[\w-]+)";', MODULES["guards.js"].decode(), re.MULTILINE))
    assert server == browser
    built = "".join(path.read_text(encoding="utf-8") for path in UI.glob("*.py") if path.name != "presses.py")
    assert {name for name in vars(presses) if name.isupper()} == set(re.findall(r"presses\.([A-Z_]+)", built))


def test_no_file_is_too_long_to_read() -> None:
    for path in [*FOLDER.glob("*.js"), *FOLDER.glob("viewer/*.js"), *FOLDER.glob("tests/*.js"), *UI.glob("*.css")]:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 400, path.name
        if path.suffix == ".js":
            assert max(map(len, lines)) <= 120, path.name
            assert lines[0] == "// @ts-check", path.name
    assert Path(FOLDER / "package-lock.json").read_text(encoding="utf-8").count('"resolved"') == 0
