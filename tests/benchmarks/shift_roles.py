"""What each of the three does all shift."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Error as BrowserError
from playwright.async_api import Page

from tests.benchmarks.shift_ledger import Act
from tests.benchmarks.shift_people import ALARM, SAMPLES, UNHURRIED, WARNED, Person

Habits = list[tuple[Callable[[], Awaitable[None]], float]]
# Every showing has a mark of its own: the answer to this click, not what stood there before it.
SHOWN = "([id, before]) => xrayDesk.work !== null && xrayDesk.work.analysis_id === id && xrayDesk.work.shown !== before"
MARK = "xrayDesk.work === null ? '' : xrayDesk.work.shown"
DECIDED = "/(CLEAR|REVIEW|SEARCH) recorded/.test(said)"
ALREADY = "/is recorded already/.test(said)"
ON_TOP = "seen('#annotate-conflict .merged')"


@dataclass
class Analyst(Person):
    """Adds scans, decides, and corrects what is wrong, now and then in two tabs at once."""

    added: int = 0
    second: Page | None = None

    def habits(self) -> Habits:
        if not self.added:
            return [(self.add_scans, 1)]
        return [
            (self.add_scans, 4), (self.decide, 6), (self.decide_and_undo, 2), (self.correct, 5), (self.save_twice, 2),
            (self.reload_mid_edit, 2), (self.lose_the_line, 2), (self.go_back, 1), (self.use_two_tabs, 2),
        ]  # fmt: skip

    async def add_scans(self) -> None:
        acts, files = [], []
        for _ in range(self.rng.randint(1, 3)):
            self.added += 1
            file = self.site.folder / f"{self.name}-{self.added}.jpg"
            # Bytes after a JPEG's end make another scan of the same picture.
            file.write_bytes(self.rng.choice(SAMPLES).read_bytes() + f"{self.name} {self.added}".encode())
            files.append(str(file))
            acts.append(self.ledger.did(self.name, "upload", file.name))
        await self.page.set_input_files("#upload input[type=file]", files)
        for act in acts:
            script = """name => { const on = document.querySelector('.intake .go-on');
                if (on && !on.hidden) on.click();  // the desk did not answer: go on, as a person would
                return document.querySelector(`#strip .tile[title="${name}"]`) !== null; }"""
            await self.page.wait_for_function(script, arg=act.about, polling=500)
            act.fate = "stored"
        await self.page.wait_for_selector(".intake .progress", state="hidden")

    async def choose(self, page: Page | None = None, id: str | None = None) -> None:
        """Opens a scan of the queue, any one or the one named."""
        page = page or self.page
        tiles = page.locator(f"#strip .tile[data-analysis='{id}']" if id else "#strip .tile")
        await tiles.first.wait_for()
        tile = tiles.nth(self.rng.randrange(await tiles.count()))
        wanted = await tile.get_attribute("data-analysis")
        before = await page.evaluate(MARK)
        await page.locator(f"#strip .tile[data-analysis='{wanted}']").first.click()  # the queue may have moved on
        await page.wait_for_function(SHOWN, arg=[wanted, before])
        await page.wait_for_function(UNHURRIED)

    async def reopen(self, id: str) -> None:
        await self.choose(id=id)

    async def decide(self) -> None:
        await self.choose()
        await self._decide()

    async def _decide(self) -> Act:
        page = self.page
        work, word = await self.work(), self.rng.choice(("REVIEW", "SEARCH"))
        act = self.ledger.did(self.name, "decision", work["analysis_id"], word)
        before = await self.fresh(page)
        began = time.monotonic()
        if self.rng.random() < 0.3:
            await page.dblclick(f"#decide-{word.lower()}")
            self.ledger.seen["double_click"] += 1
        else:
            await page.locator("svg.scan:visible").focus()
            await page.keyboard.press({"REVIEW": "2", "SEARCH": "3"}[word])
        told = await self.outcome(page, before, done=DECIDED, already=ALREADY, alarm=ALARM, warned=WARNED)
        self.judge(act, told.partition("|")[0], began)
        return act

    async def decide_and_undo(self) -> None:
        await self.choose()
        made = await self._decide()
        if made.fate != "stored":
            return
        before, began = await self.fresh(self.page), time.monotonic()
        with suppress(BrowserError):  # the offer lasts five seconds, which a busy machine may need to show it
            await self.page.wait_for_selector("#undo-decision.offered", timeout=4000)
            act = self.ledger.did(self.name, "undo", made.about, made.what)
            await self.page.click("#undo-decision", timeout=1000)
            told = await self.outcome(self.page, before, done="/Taken back/.test(said)", warned=WARNED, alarm=ALARM)
            self.judge(act, told.partition("|")[0], began)

    async def correct(self) -> None:
        await self.choose()
        await self.draw()
        await self.settle(self.page, await self.save(self.page, self.key(self.page, "s")))

    async def save_twice(self) -> None:
        await self.choose()
        await self.draw()
        self.ledger.seen["double_click"] += 1
        await self.settle(
            self.page, await self.save(self.page, lambda: self.page.dblclick("#save-correction", delay=20))
        )

    async def settle(self, page: Page, act: Act) -> None:
        if not await page.locator("#conflict .conflict").is_visible():
            return
        if self.rng.random() < 0.3:
            await page.click("#take-theirs")
            await page.wait_for_selector("#conflict .conflict", state="detached")
            return
        again = await self.save(page, lambda: page.click("#keep-mine"))
        if again.fate == "refused" and await page.locator("#conflict .conflict").is_visible():
            await self.settle(page, again)

    async def reload_mid_edit(self) -> None:
        await self.choose()
        drawn, work = await self.draw(), await self.work()
        await self.page.reload()
        await self.ready()
        await self.choose(id=work["analysis_id"])
        await self.expect_draft(drawn, work)
        self.ledger.seen["reload"] += 1
        await self.settle(self.page, await self.save(self.page, self.key(self.page, "s")))

    async def lose_the_line(self) -> None:
        await self.choose()
        await self.cut_off(self.page, self.key(self.page, "s"))

    async def go_back(self) -> None:
        await self.choose()
        drawn, work = await self.draw(), await self.work()
        await self.page.go_back()
        await self.page.goto(f"{self.site.url}/desk/")
        await self.ready()
        await self.choose(id=work["analysis_id"])
        await self.expect_draft(drawn, work)
        self.ledger.seen["back"] += 1
        await self.page.keyboard.press("Control+z")

    async def use_two_tabs(self) -> None:
        """The same scan in two tabs, edited in both: the second to save is told of the first."""
        await self.choose()
        id = (await self.work())["analysis_id"]
        other = await self.open_tab()
        try:
            await self.ready(other)
            await self.choose(other, id)
            await self.draw()
            await self.draw(other)
            first = await self.save(self.page, self.key(self.page, "s"))
            second = await self.save(other, self.key(other, "s"))
            if first.fate == second.fate == "stored":
                self.ledger.faults.append(f"{self.name}'s second tab overwrote the first unseen: {id}")
            self.ledger.seen["two_tabs"] += 1
            await self.settle(self.page, first)
            await self.settle(other, second)
        finally:
            await other.close()


@dataclass
class Annotator(Person):
    """Works the queue: corrects, confirms, skips."""

    since: float = field(default=0.0)

    def habits(self) -> Habits:
        return [
            (self.correct, 6), (self.confirm, 2), (self.skip, 2), (self.save_twice, 2), (self.reload_mid_edit, 2),
            (self.lose_the_line, 2),
        ]  # fmt: skip

    async def at_queue(self) -> bool:
        """Takes the next scan, or the one held; whether there is one."""
        if not await self.page.locator("#annotate-list .picklist").is_visible():
            await self.page.get_by_role("tab", name="Annotate").click()
            await self.page.wait_for_selector("#annotate-list .picklist")
            await self.page.wait_for_timeout(500)
        before, soon = await self.page.evaluate(MARK), await self.page.evaluate("performance.now()") + 5000
        await self.page.click("#annotate-next")
        held = f"seen('#annotate-claim [data-claim=held]') && xrayDesk.work && xrayDesk.work.shown !== '{before}'"
        none = f"xrayDesk.work === null && seen('.why.none') && performance.now() > {soon}"
        if (await self.outcome(self.page, "", held=held, none=none)).startswith("none"):
            return False
        self.since = time.monotonic()
        await self.page.wait_for_function(UNHURRIED)
        return True

    async def reopen(self, id: str) -> None:
        await self.at_queue()  # what one holds comes first

    async def holding(self) -> dict[str, Any]:
        """Until now the scan was this person's."""
        work = await self.work()
        if await self.page.locator("#annotate-claim [data-claim=held]").is_visible():
            self.ledger.held(self.name, work["analysis_id"], self.since)
        return work

    async def correct(self) -> None:
        if await self.at_queue():
            await self.draw()
            await self.holding()
            await self.settle(self.page, await self.save(self.page, self.key(self.page, "s")))

    async def save_twice(self) -> None:
        if await self.at_queue():
            await self.draw()
            await self.holding()
            self.ledger.seen["double_click"] += 1
            await self.settle(
                self.page, await self.save(self.page, lambda: self.page.dblclick("#annotate-save", delay=20))
            )

    async def confirm(self) -> None:
        if not await self.at_queue():
            return
        if (await self.holding())["base_revision"] or await self.page.evaluate("xrayDesk.dirty()"):
            await self.settle(self.page, await self.save(self.page, self.key(self.page, "s")))
        else:
            await self.settle(self.page, await self.save(self.page, self.key(self.page, "y")))

    async def skip(self) -> None:
        if not await self.at_queue():
            return
        act = self.ledger.did(self.name, "skip", (await self.holding())["analysis_id"])
        before, began = await self.fresh(self.page), time.monotonic()
        await self.page.locator("svg.scan:visible").focus()
        await self.page.keyboard.press("q")
        await self.page.wait_for_selector("#annotate-skips.open")
        await self.page.keyboard.press(self.rng.choice("1234"))
        told = await self.outcome(self.page, before, done="/Skipped/.test(said)", alarm=ALARM, warned=WARNED)
        self.judge(act, told.partition("|")[0], began)

    async def settle(self, page: Page, act: Act) -> None:
        if not await page.locator("#annotate-conflict .conflict:not(.merged)").is_visible():
            return
        if self.rng.random() < 0.3:
            await page.click("#annotate-theirs")
            await page.wait_for_selector("#annotate-conflict .conflict", state="detached")
            return
        await page.click("#annotate-merge")
        told = await self.outcome(page, "", merged=ON_TOP, warned=WARNED, alarm=ALARM)
        if told.startswith("merged"):
            await self.settle(page, await self.save(page, self.key(page, "s")))

    async def reload_mid_edit(self) -> None:
        if not await self.at_queue():
            return
        drawn, work = await self.draw(), await self.holding()
        await self.page.wait_for_timeout(2500)  # the page keeps a draft by now
        await self.page.reload()
        await self.ready()
        self.ledger.seen["reload"] += 1
        if await self.at_queue():
            await self.expect_draft(drawn, work)
            await self.settle(self.page, await self.save(self.page, self.key(self.page, "s")))

    async def lose_the_line(self) -> None:
        if await self.at_queue():
            await self.cut_off(self.page, self.key(self.page, "s"))


@dataclass
class Reviewer(Annotator):
    """Judges what others saved: accepts, amends, rejects."""

    def habits(self) -> Habits:
        return [(self.accept, 5), (self.reject, 3), (self.amend, 3), (self.correct, 1)]

    async def at_review(self) -> tuple[str, int] | None:
        """The correction on the screen after a look: its analysis and revision."""
        page = self.page
        if not await page.locator("#review-refresh").is_visible():
            await page.get_by_role("tab", name="Review").click()
            await page.wait_for_selector("#review-refresh")
        await page.click("#review-refresh")
        await page.wait_for_selector("#review-versions .version, #review-versions .review-empty")
        await page.wait_for_timeout(1500)  # what was there before the look may still stand there
        chosen = page.locator("#review-list .pick[aria-current=true]")
        if not await chosen.count() or not await page.locator("#review-accept").is_visible():
            return None
        told = await page.locator("#review-facts").inner_text()
        return str(await chosen.first.get_attribute("data-analysis")), int(told.split("revision ")[1].split(":")[0])

    async def review(self, status: str, key: str) -> None:
        found = await self.at_review()
        if found is None:
            return
        if status == "rejected":
            await self.page.fill("#review-comment textarea, #review-comment input", "not so")
            await self.page.locator("#review-comment textarea, #review-comment input").blur()
            await self.page.wait_for_timeout(300)
        act = self.ledger.did(self.name, "review", found[0], (found[1], status))
        before, began = await self.fresh(self.page), time.monotonic()
        await self.page.click(f"#review-{key}")
        said = f"/Revision {found[1]} {status}/.test(said)"
        told = await self.outcome(self.page, before, done=said, alarm=ALARM, warned=WARNED)
        self.judge(act, told.partition("|")[0], began)

    async def accept(self) -> None:
        await self.review("accepted", "accept")

    async def reject(self) -> None:
        await self.review("rejected", "reject")

    async def amend(self) -> None:
        found = await self.at_review()
        if found is None:
            return
        await self.fresh(self.page)
        await self.page.click("#review-amend")
        opened = f"seen('#annotate-viewer') && xrayDesk.work && xrayDesk.work.analysis_id === '{found[0]}'"
        told = await self.outcome(self.page, "", opened=opened, warned=WARNED, alarm=ALARM)
        self.ledger.seen["amend_" + told.partition("|")[0]] += 1
        if told.startswith("opened"):
            self.since = time.monotonic()
            await self.draw()
            await self.holding()
            await self.settle(self.page, await self.save(self.page, self.key(self.page, "s")))
