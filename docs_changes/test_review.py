"""A browser looks at the review page, and at what it links to."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urldefrag

import lxml.html
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from docs_changes import docs, review
from patchkit.fork import Fork
from tests_ticket31997.patience import PATIENCE

FORK = Fork()
REVIEW = docs.output(FORK, "review") / "index.html"
SCREENSHOTS = docs.output(FORK, "screenshots")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
SETTING = "std-setting-DATABASE_CONNECTION_SCOPE"
# Playwright counts in milliseconds.
TIMEOUT = 1000 * PATIENCE

with_browser = pytest.mark.skipif(
    not CHROMIUM, reason="there is no Chromium: apt install chromium"
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=arguments, timeout=TIMEOUT
        )
        yield browser
        browser.close()


@pytest.fixture
def context(
    browser: Browser, request: pytest.FixtureRequest
) -> Iterator[BrowserContext]:
    """A context without a network that notes what it is asked for and complains of."""
    context = browser.new_context(**getattr(request, "param", {}))
    context.set_default_timeout(TIMEOUT)
    requests: list[str] = []
    complaints: list[str] = []
    context.on("request", lambda r: requests.append(r.url))
    context.on("console", lambda m: complaints.append(m.text))
    context.on("weberror", lambda e: complaints.append(str(e.error)))
    context.on("requestfailed", lambda r: complaints.append(r.url))
    yield context
    context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    page = context.new_page()
    page.goto(REVIEW.as_uri())
    return page


def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=name != "wide-light")


@with_browser
def test_every_section(page: Page) -> None:
    pages = review.changes(FORK)
    wanted = {f"docs/{each.name}.txt" for each in pages}
    assert set(page.locator("h2").all_inner_texts()) == wanted
    changes = [change for each in pages for change in each.changes]
    assert len(changes) >= len(wanted)
    for change in changes:
        article = page.locator(f"[id='{change.id}']")
        # The contents lead there, and both versions are to be seen.
        page.locator(f"nav a[href='#{change.id}']").click()
        page.wait_for_url(re.compile(f"#{re.escape(change.id)}$"))
        assert article.locator("h3").inner_text().startswith(change.title)
        assert article.locator(".side").count() == 2
        assert article.locator(".commits li").count() >= 1
        if change.kind == "changed":
            assert article.locator("ins:visible, del:visible").count() >= 1
        assert article.locator(".side:first-child ins").count() == 0
        assert article.locator(".side:last-child del").count() == 0


@with_browser
@pytest.mark.parametrize(
    ("context", "ground"),
    [
        ({"color_scheme": "light"}, "rgb(255, 255, 255)"),
        ({"color_scheme": "dark"}, "rgb(20, 24, 29)"),
    ],
    indirect=["context"],
)
def test_color_schemes(page: Page, ground: str) -> None:
    style = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert style == ground
    screenshot(page, "wide-dark" if "20" in ground else "wide-light")


@with_browser
@pytest.mark.parametrize(
    "context", [{"viewport": {"width": 390, "height": 844}}], indirect=True
)
def test_narrow_screen(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    # What doesn't change is folded: it was more than twice as long.
    assert page.evaluate("document.documentElement.scrollHeight") < 20_000
    for summary in page.locator("summary").all():
        assert not summary.locator("xpath=../p").first.is_visible()
    # One below the other.
    sides = page.locator("article:has(.side + .side:not(.absent)) .side:not(.absent)")
    first, second = (sides.nth(number).bounding_box() for number in (0, 1))
    assert first and second
    assert second["x"] == first["x"]
    screenshot(page, "narrow")


@with_browser
def test_setting_is_reachable(context: BrowserContext) -> None:
    html = docs.output(FORK, "django") / "html"
    page = context.new_page()
    # The page's own JavaScript isn't under test.
    for start, where in (
        ("ref/settings.html", "#settings-index, #s-database, #s-databases, section"),
        ("topics/async.html", "section"),
    ):
        page.goto((html / start).as_uri())
        link = page.locator(f"{where.split(',')[-1]} a[href$='#{SETTING}']").last
        link.click()
        url = f"{(html / 'ref/settings.html').as_uri()}#{SETTING}"
        page.wait_for_url(re.compile(f"^{re.escape(url)}$"))
        target = page.locator(f"[id='{SETTING}']")
        assert target.count() == 1
        section = page.locator(f"section:has(> [id='{SETTING}'])").last
        assert "DATABASE_CONNECTION_SCOPE" in section.inner_text()


def targets(path: Path, cache: dict[Path, set[str]]) -> set[str]:
    """Return what a link to a page can name behind its #."""
    if path not in cache:
        html = lxml.html.parse(str(path)).getroot()
        cache[path] = set(html.xpath("//@id")) | set(html.xpath("//a/@name"))
    return cache[path]


def dead_links(path: Path, cache: dict[Path, set[str]]) -> list[str]:
    """Return the links of a page to files or anchors that aren't there."""
    dead = []
    for link in lxml.html.parse(str(path)).getroot().xpath("//@href | //@src"):
        if re.match(r"[a-z]+:", link) or link == "#":
            continue
        name, anchor = urldefrag(link.split("?")[0] if "?" in link else link)
        file = path.parent / unquote(name) if name else path
        file = file.resolve()
        if not file.exists() or (
            anchor and unquote(anchor) not in targets(file, cache)
        ):
            dead.append(link)
    return dead


def test_no_dead_links() -> None:
    cache: dict[Path, set[str]] = {}
    names = review.pages(FORK)
    assert names
    dead = {
        tree: {
            name: links
            for name in names
            if (page := docs.output(FORK, tree) / "html" / f"{name}.html").exists()
            if (links := dead_links(page, cache))
        }
        for tree in docs.TREES
    }
    assert dead["django"] == dead["base"] == {}
    assert dead_links(REVIEW, cache) == []


def test_problems_are_kept() -> None:
    """What the checks found of each tree can be looked up."""
    record = json.loads(docs.output(FORK, "problems.json").read_text())
    for tree in docs.TREES:
        assert {problem["check"] for problem in record[tree]} <= {*docs.CHECKS}
