"""An analyst, an annotator and a reviewer at their browsers, by script: what they do, and what they are shown of it."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext, Page
from playwright.async_api import Error as BrowserError

from tests.benchmarks.shift_ledger import Act, Content, Ledger, content
from tests.browser.conftest import ADMIN_PASSWORD
from xray_app.settings import ASSETS

LABELS = ("gun", "lighter", "laptop", "scissors")
SAMPLES = sorted((ASSETS / "samples").glob("*.jpg"))
UNHURRIED = "xrayDesk.work !== null && xrayDesk.seconds() > 0.7"
# Each is true once its word is on the screen; `before` is what stood there when the act began.
SEEN = "const seen = at => [...document.querySelectorAll(at)].some(node => node.offsetParent !== null);"
ALARM = "document.querySelector('#desk-alarm') !== null"
WARNED = "document.querySelector('.toast-body, .refusal') !== null"
CONFLICT = "seen('#conflict .conflict:not([data-old]), #annotate-conflict .conflict:not(.merged, [data-old])')"


@dataclass
class Site:
    """Where the desk is, and when it last was away: what was under way then is unknown."""

    url: str
    folder: Path
    patience: float
    up: bool = True
    falls: int = 0
    away_until: float = -1.0

    def undisturbed(self, since: float) -> bool:
        """Whether the desk was there all the time since a moment."""
        return self.up and self.away_until < since


class Silence(Exception):
    """Nothing on the screen said what became of an act."""


@dataclass
class Person:
    """One person with a browser of their own."""

    name: str
    context: BrowserContext
    site: Site
    ledger: Ledger
    rng: random.Random
    page: Page = field(init=False)
    falls_seen: int = 0

    async def sign_in(self) -> None:
        """The desk as it is after signing in."""
        self.page = await self.open_tab()
        await self.page.fill("input[name=username]", self.name)
        await self.page.fill("input[name=password]", ADMIN_PASSWORD)
        await self.page.click("button[type=submit]")
        await self.ready()

    async def open_tab(self) -> Page:
        page = await self.context.new_page()
        page.set_default_timeout(self.site.patience * 1000)
        page.on("dialog", lambda dialog: dialog.accept())
        page.on("pageerror", self.took_down)
        await page.goto(f"{self.site.url}/desk/")
        return page

    def took_down(self, error: BrowserError) -> None:
        """An error the page threw; that a line is cut is no error of the page's."""
        if not re.search("fetch|network|connection", str(error), re.IGNORECASE):
            self.ledger.faults.append(f"{self.name}'s page: {error}")

    async def ready(self, page: Page | None = None) -> None:
        page = page or self.page
        await page.wait_for_selector("#viewer svg.scan", state="attached")
        await page.wait_for_selector(".desk-user")
        await page.evaluate("window.sameDocument = true")

    async def work_until(self, end: float) -> None:
        """Does one thing after the other; after each the desk is as a person would find it."""
        while time.monotonic() < end:
            if self.falls_seen < self.site.falls:
                await self.come_back()
            act = self.rng.choices(*zip(*self.habits(), strict=True))[0]
            began = time.monotonic()
            try:
                await act()
            except (Silence, BrowserError) as error:
                if self.site.undisturbed(began):
                    said = f"{self.name}: {getattr(act, '__name__', act)}: {str(error).splitlines()[0]}"
                    self.ledger.faults.append(said)
                await self.come_back()

    def habits(self) -> list[tuple[Callable[[], Awaitable[None]], float]]:
        """What this person does, and how often."""
        raise NotImplementedError

    async def come_back(self) -> None:
        """Reloads the page, as somebody does whose desk does not answer, until it does."""
        self.ledger.seen["come_back"] += 1
        self.falls_seen = self.site.falls
        for _ in range(100):
            try:
                await self.context.set_offline(False)
                await self.page.goto(f"{self.site.url}/desk/")
                await self.ready()
                return
            except BrowserError:
                await self.page.wait_for_timeout(500)
        raise RuntimeError(f"{self.name} does not get back to the desk")

    # --- reading the screen -----------------------------------------------------------------------------------

    async def outcome(self, page: Page, before: str, **words: str) -> str:
        """Which of some things shows first, by JavaScript conditions.

        Raises:
            Silence: none does.
        """
        tests = ", ".join(f"[{json.dumps(name)}, () => {condition}]" for name, condition in words.items())
        script = f"""before => {{ {SEEN}
            const told = [...document.querySelectorAll('[data-said]')].find(node => node.offsetParent !== null);
            const said = told && told.dataset.said !== before ? told.textContent : '';
            for (const [name, holds] of [{tests}]) if (holds()) return name + '|' + said;
            return window.sameDocument ? false : 'anew|'; }}"""
        try:
            found = await page.wait_for_function(script, arg=before)
        except BrowserError as error:
            raise Silence(f"none of {', '.join(words)} was shown") from error
        told = str(await found.json_value())
        if told.startswith("anew"):  # Gradio loads the page again once a desk that was away is back
            raise Silence("the page came anew")
        return told

    async def fresh(self, page: Page) -> str:
        """Puts old warnings away and marks an old conflict; gives the mark of what is said now."""
        await page.evaluate(
            """() => { document.querySelectorAll('.toast-close, .refusal-close').forEach(button => button.click());
            document.querySelectorAll('.conflict').forEach(node => node.setAttribute('data-old', ''));
            const alarm = document.querySelector('#desk-alarm'); if (alarm) alarm.remove(); }"""
        )
        await page.wait_for_function("document.querySelector('.toast-body, .refusal') === null")
        found = await page.evaluate(
            """() => { const told = [...document.querySelectorAll('[data-said]')].find(node => node.offsetParent);
            return told ? told.dataset.said : ''; }"""
        )
        return str(found)

    async def work(self, page: Page | None = None) -> dict[str, Any]:
        """The work in hand as the page has it."""
        found: dict[str, Any] | None = await (page or self.page).evaluate("JSON.parse(JSON.stringify(xrayDesk.work))")
        if found is None:
            raise Silence("no scan is open any more")
        return found

    def judge(self, act: Act, word: str, began: float) -> None:
        """What is known of an act that began then, by what the screen showed of it."""
        self.ledger.seen[word] += 1
        if word in ("saved", "done"):
            act.fate = "stored"
        elif word == "conflict" or (word in ("warned", "alarm", "already") and self.site.undisturbed(began)):
            act.fate = "refused"  # a desk that falls may have stored it before it could say so

    # --- editing ----------------------------------------------------------------------------------------------

    async def draw(self, page: Page | None = None) -> Content:
        """Draws a box and names it; gives what the work then says."""
        page = page or self.page
        await page.bring_to_front()
        x, y = self.rng.uniform(0.05, 0.7), self.rng.uniform(0.05, 0.7)
        across = (x, y), (x + self.rng.uniform(0.1, 0.25), y + self.rng.uniform(0.1, 0.25))
        ends = await page.evaluate(
            """points => { const all = [...document.querySelectorAll('svg.scan')];
            const svg = all.find(node => node.clientWidth), scan = xrayDesk.work.scan;
            return points.map(([x, y]) => { const spot = new DOMPoint(x * scan.width, y * scan.height);
            const at = spot.matrixTransform(svg.getScreenCTM()); return [at.x, at.y]; }); }""",
            across,
        )
        count = len((await self.work(page))["boxes"])
        await page.locator("svg.scan:visible").focus()
        await page.keyboard.press("Escape")
        await page.keyboard.press("d")
        await page.mouse.move(*ends[0])
        await page.mouse.down()
        await page.mouse.move(*ends[1], steps=4)
        await page.mouse.up()
        await page.wait_for_selector(".relabel:not([hidden])")
        await page.keyboard.type(self.rng.choice(LABELS))
        await page.keyboard.press("Enter")
        await page.wait_for_function("count => xrayDesk.work.boxes.length > count", arg=count)
        await page.keyboard.press("c")  # a box that only the detector saw is refused while the list does not name it
        return await self.says(page)

    async def says(self, page: Page | None = None) -> Content:
        work = await self.work(page)
        return content(work["items"], work["boxes"])

    async def save(self, page: Page, press: Callable[[], Awaitable[None]], what: Content | None = None) -> Act:
        """Presses save in some way and takes down what the screen makes of it."""
        await page.bring_to_front()
        work = await self.work(page)
        act = self.ledger.did(
            self.name, "correction", work["analysis_id"], what or content(work["items"], work["boxes"])
        )
        before, began = await self.fresh(page), time.monotonic()
        await press()
        told = await self.outcome(
            page, before, saved="/Revision \\d+.* saved/.test(said)", conflict=CONFLICT, alarm=ALARM, warned=WARNED
        )
        word, _, said = told.partition("|")
        self.judge(act, word, began)
        if act.fate == "stored":
            act.revision = int(re.findall(r"Revision (\d+)", said)[0])
        return act

    def key(self, page: Page, name: str) -> Callable[[], Awaitable[None]]:
        async def press() -> None:
            await page.locator("svg.scan:visible").focus()
            await page.wait_for_function(UNHURRIED)
            await page.keyboard.press(name)

        return press

    async def cut_off(self, page: Page, press: Callable[[], Awaitable[None]]) -> None:
        """Edits, loses the line, saves in vain, gets the line back, and saves."""
        drawn, work = await self.draw(), await self.work()
        await self.context.set_offline(True)
        try:
            act = await self.save(page, press)
            if act.fate == "stored":
                self.ledger.faults.append(f"{self.name} was told that something is saved without a line")
        finally:
            await self.context.set_offline(False)
        self.ledger.seen["cut_off"] += 1
        await page.wait_for_timeout(4000)  # once it is back Gradio may load the page anew
        await self.ready(page)
        if await page.evaluate("xrayDesk.work === null"):
            self.ledger.seen["page_came_anew"] += 1
            await self.reopen(work["analysis_id"])
        await self.expect_draft(drawn, work)
        await self.settle(page, await self.save(page, press))

    async def reopen(self, id: str) -> None:
        """Opens the scan that was in hand before the page came anew."""
        raise NotImplementedError

    async def settle(self, page: Page, act: Act) -> None:
        """After a conflict: the way this person takes out of it."""
        raise NotImplementedError

    async def expect_draft(self, drawn: Content, work: dict[str, Any]) -> None:
        """An unsaved edit is on the screen again, unless somebody saved meanwhile."""
        now = await self.work()
        if (now["analysis_id"], now["base_revision"]) != (work["analysis_id"], work["base_revision"]):
            return
        if content(now["items"], now["boxes"]) != drawn:
            self.ledger.faults.append(f"{self.name}: an unsaved edit of {work['analysis_id']} was gone")
