"""The review page: each section of the documentation that the series changes."""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import pairwise, zip_longest
from pathlib import Path

import jinja2
import lxml.html
from lxml.html import HtmlElement
from lxml.html.diff import htmldiff
from markupsafe import Markup
from pygments.formatters import HtmlFormatter

from docs_changes import docs
from patchkit import KitError
from patchkit.fork import BASE_BRANCH, BRANCH, Fork
from patchkit.git import git

# A heading is a line with a line of one of these characters below it.
UNDERLINE = re.compile(r"([=\-~^\"'*+#])\1*$")
HEADINGS = "./h1|./h2|./h3|./h4|./h5|./h6"
# Elements that are compared by what is in them, and those that a mark is put into
# rather than around.
CONTAINERS = ("div", "dl", "dd", "ul", "ol", "li", "section", "blockquote")
INSIDE = ("p", "li", "dt", "dd")
# Blocks of code, whose spaces the comparison of words would lose.
CODE = "self::div[starts-with(@class, 'highlight-')]"


@dataclass(frozen=True)
class Commit:
    """A commit of the series.

    Attributes:
        number: its place in the series, from 1.
        subject: the first line of its message.
        patch: the name of its file in patches/.
    """

    number: int
    subject: str
    patch: str


@dataclass
class Change:
    """A section that differs.

    Attributes:
        page: the page, relative to docs/, without the ending.
        anchor: the section's id in the page.
        title: the section's title.
        path: the titles of the sections around it.
        before: the section as HTML, with what is removed marked; None if new.
        after: likewise, with what is added marked; None if removed.
        commits: those that changed it, in the order of the series.
    """

    page: str
    anchor: str
    title: str
    path: list[str]
    before: Markup | None
    after: Markup | None
    commits: list[Commit]

    @property
    def id(self) -> str:
        """The section's id in the review page."""
        return f"{self.page}--{self.anchor}".replace("/", "-")

    @property
    def kind(self) -> str:
        """What happened to it."""
        if self.before is None:
            return "new"
        return "removed" if self.after is None else "changed"


@dataclass
class Page:
    """A page that differs.

    Attributes:
        name: relative to docs/, without the ending.
        reasons: what changed there and why, as docs_changes/README.md says.
        changes: its sections.
    """

    name: str
    reasons: list[tuple[str, str]]
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """A section of a built page, without the sections in it.

    Attributes:
        anchor: its id.
        title: its heading.
        path: the headings around it.
        content: the HTML.
    """

    anchor: str
    title: str
    path: tuple[str, ...]
    content: str


def pages(fork: Fork) -> list[str]:
    """Return the pages that the series changes.

    Args:
        fork: the repository, with a checkout.

    Returns:
        The names relative to docs/, without the ending.
    """
    diff = ("diff", "--name-only", BASE_BRANCH, "--", "docs/*.txt")
    return [
        name.removeprefix("docs/").removesuffix(".txt")
        for name in git(fork.django, *diff).splitlines()
    ]


def reasons(fork: Fork) -> dict[str, list[tuple[str, str]]]:
    """Read the table of docs_changes/README.md.

    Returns:
        For each page the sections and why they change, as HTML.
    """
    text = (fork.root / "docs_changes" / "README.md").read_text(encoding="utf-8")
    found: dict[str, list[tuple[str, str]]] = {}
    for page, what, why in re.findall(
        r"^\| `docs/(\S+)\.txt` \| (.+?) \| (.+?) \|$", text, re.MULTILINE
    ):
        found.setdefault(page, []).append((_code(what), _code(why)))
    return found


def _code(text: str) -> Markup:
    """Render the one piece of Markdown that the table uses."""
    parts = re.split(r"`([^`]+)`", text)
    result = Markup()
    for number, part in enumerate(parts):
        result += Markup("<code>{}</code>").format(part) if number % 2 else part
    return result


def _commits(fork: Fork) -> dict[str, Commit]:
    """Return the commits of the series by their ids."""
    log = git(fork.django, "log", "--reverse", "--format=%H %s", f"{BASE_BRANCH}..")
    names = [path.name for path in fork.patches()]
    found = {}
    for number, line in enumerate(log.splitlines(), 1):
        commit, subject = line.split(" ", 1)
        patch = names[number - 1] if number <= len(names) else ""
        found[commit] = Commit(number, subject, patch)
    return found


def headings(text: str) -> list[int]:
    """Find the headings of a page's source.

    Args:
        text: reStructuredText.

    Returns:
        The numbers of their lines, from 1.
    """
    lines = text.splitlines()
    return [
        number
        for number, (line, below) in enumerate(pairwise(lines), start=1)
        if line[:1].strip()
        and UNDERLINE.match(below)
        and not UNDERLINE.match(line)
        and len(below) >= len(line)
    ]


def _blame(fork: Fork, page: str) -> list[set[str]]:
    """Return the ids of the commits that a page's sections have lines of.

    Sections are in the order of the source; lines of the base don't count.
    """
    name = f"docs/{page}.txt"
    commits = f"{BASE_BRANCH}..{BRANCH}"
    command = ("blame", "-s", "-l", "--root", commits, "--", name)
    blame = git(fork.django, *command).splitlines()
    text = git(fork.django, "show", f"{BRANCH}:{name}")
    starts = [*headings(text), len(blame) + 2]
    found = []
    for start, end in pairwise(starts):
        # The line above a heading may be its overline.
        lines = blame[start - 1 : end - 2]
        found.append({line.split()[0] for line in lines if not line.startswith("^")})
    return found


def _own(section: HtmlElement) -> HtmlElement:
    own = copy.deepcopy(section)
    for nested in own.xpath("./section"):
        nested.drop_tree()
    # The latter lead to lines of the source, whose numbers shift.
    for link in own.xpath(".//a[@class='headerlink' or span[@class='viewcode-link']]"):
        link.drop_tree()
    return own


def _title(section: HtmlElement) -> str:
    (heading,) = _own(section).xpath(HEADINGS)
    return str(heading.text_content()).strip()


def sections(html: Path) -> Iterator[Section]:
    """Read the sections of a built page.

    Args:
        html: the page.

    Yields:
        The sections in the order of the page.
    """
    page = lxml.html.parse(str(html)).getroot()
    for section in page.xpath("//section"):
        own = _own(section)
        (heading,) = own.xpath(HEADINGS)
        title = str(heading.text_content()).strip()
        heading.drop_tree()
        # Targets within the page would be there twice in the review, and the
        # numbers in those that Sphinx makes up shift.
        for element in own.xpath(".//*[@id]"):
            del element.attrib["id"]
        for link in own.xpath(".//a[starts-with(@href, '#id')]"):
            del link.attrib["href"]
        for target in own.xpath("./span[not(node())]"):
            target.drop_tree()
        around = tuple(_title(e) for e in section.iterancestors("section"))
        content = "".join(
            lxml.html.tostring(child, encoding="unicode") for child in own
        )
        # Django's theme puts "s-" before the id of a section, and the id itself
        # right behind it.
        anchor = section.get("id").removeprefix("s-")
        yield Section(anchor, title, around[::-1], content.strip())


def _link(content: str, page: str, tree: str) -> str:
    """Make a section's links point from the review page into a build."""
    directory = f"../{tree}/html/"

    def absolute(link: str) -> str:
        if re.match(r"[a-z]+:", link):
            return link
        if link.startswith("#"):
            return f"{directory}{page}.html{link}"
        path = Path(page).parent
        while link.startswith("../"):
            link, path = link.removeprefix("../"), path.parent
        return f"{directory}{path.as_posix()}/{link}".replace("/./", "/")

    fragment = lxml.html.fragment_fromstring(content, create_parent="div")
    fragment.rewrite_links(absolute)
    return _inner(fragment)


def _inner(element: HtmlElement) -> str:
    parts = (lxml.html.tostring(child, encoding="unicode") for child in element)
    return (element.text or "") + "".join(parts)


def _fill(element: HtmlElement, html: str) -> None:
    """Replace what is in an element."""
    for child in element:
        element.remove(child)
    source = lxml.html.fragment_fromstring(html, create_parent="div")
    element.text = source.text
    element.extend(source)


def _mark_all(element: HtmlElement, mark: str) -> None:
    if element.tag in INSIDE:
        _fill(element, f"<{mark}>{_inner(element)}</{mark}>")
    else:
        around = lxml.html.Element(mark)
        around.tail, element.tail = element.tail, None
        element.getparent().replace(element, around)
        around.append(element)


def _mark_words(old: HtmlElement, new: HtmlElement) -> None:
    # Where a link goes to isn't to be printed as a part of the text.
    both = [_inner(e).replace(" href=", " data-href=") for e in (old, new)]
    merged = htmldiff(*both).replace(" data-href=", " href=")
    for element, unwanted in ((old, "ins"), (new, "del")):
        _fill(element, merged)
        # One may be in another one.
        while marked := element.xpath(f".//{unwanted}"):
            marked[0].drop_tree()


def _mark(old: HtmlElement, new: HtmlElement) -> None:
    """Mark what differs in two versions of an element, and fold what doesn't."""
    both = [list(side) for side in (old, new)]
    texts = [
        [lxml.html.tostring(e, encoding="unicode", with_tail=False) for e in side]
        for side in both
    ]
    matcher = SequenceMatcher(None, texts[0], texts[1], autojunk=False)
    for kind, *places in matcher.get_opcodes():
        start, end = places[:2]
        olds, news = both[0][start:end], both[1][slice(*places[2:])]
        if kind == "equal":
            # One stays in sight above and below what changes.
            inner = slice(bool(start), None if end == len(both[0]) else -1)
            _fold(olds[inner])
            _fold(news[inner])
            continue
        for one, other in zip_longest(olds, news):
            if one is not None and other is not None and one.tag == other.tag:
                mark = _mark if one.tag in CONTAINERS and len(one) else _mark_words
                if not one.xpath(CODE):
                    mark(one, other)
                    continue
            if one is not None:
                _mark_all(one, "del")
            if other is not None:
                _mark_all(other, "ins")


def _fold(elements: list[HtmlElement]) -> None:
    """Fold elements that are next to each other, if there is more than one."""
    if len(elements) < 2 or elements[0].tag in ("dt", "dd", "tr"):
        return
    summary = f"<summary>{len(elements)} unchanged</summary>"
    details = lxml.html.fromstring(f"<details>{summary}</details>")
    item, parent = details, elements[0].getparent()
    elements[0].addprevious(details)
    if parent.tag in ("ul", "ol"):
        item = lxml.html.Element("li", {"class": "folded"})
        parent.replace(details, item)
        item.append(details)
        details.append(lxml.html.Element(parent.tag))
    (details if item is details else details[-1]).extend(elements)


def compare(before: str, after: str) -> tuple[Markup, Markup]:
    """Mark what differs between two versions of a section.

    Args:
        before: HTML.
        after: HTML.

    Returns:
        Both versions; in the first, what the second lacks is in <del>, and in
        the second, what the first lacks is in <ins>. What is the same in both is
        in <details>, except beside that.
    """
    old, new = (
        lxml.html.fragment_fromstring(text, create_parent="div")
        for text in (before, after)
    )
    _mark(old, new)
    return Markup(_inner(old)), Markup(_inner(new))


def changes(fork: Fork) -> list[Page]:
    """Compare the pages that the series changes, section by section.

    Args:
        fork: the repository, with both trees' documentation built.

    Returns:
        The pages and in them the sections that differ.

    Raises:
        KitError: docs_changes/README.md doesn't say why a page changes, or
            names one that doesn't.
    """
    why = reasons(fork)
    names = pages(fork)
    if set(why) != set(names):
        odd = ", ".join(sorted(f"docs/{name}.txt" for name in set(why) ^ set(names)))
        raise KitError(f"The table in docs_changes/README.md is wrong about {odd}.")
    commits = _commits(fork)
    found = []
    # In the order of the table, which begins with what matters most.
    for name in why:
        page = Page(name, why[name])
        both = []
        for tree in docs.TREES:
            html = docs.output(fork, tree) / "html" / f"{name}.html"
            both.append({s.anchor: s for s in sections(html)} if html.exists() else {})
        old, new = both
        blame = _blame(fork, name)
        if len(blame) != len(new):
            raise KitError(
                f"docs/{name}.txt has {len(blame)} headings and {len(new)} sections."
            )
        ids = dict(zip(new, blame, strict=True))
        for anchor, section in new.items():
            before = old.get(anchor)
            if before and before.content == section.content:
                continue
            after = _link(section.content, name, "django")
            sides: tuple[Markup | None, Markup] = None, Markup(after)
            if before:
                # Where their links go to isn't what differs.
                old_side, new_side = compare(
                    _link(before.content, name, "django"), after
                )
                sides = old_side.replace("../django/html/", "../base/html/"), new_side
            those = {commits[i] for i in ids[anchor] if i in commits}
            ordered = sorted(those, key=lambda commit: commit.number)
            path = list(section.path)
            page.changes.append(
                Change(name, anchor, section.title, path, sides[0], sides[1], ordered)
            )
        for anchor, section in old.items():
            if anchor not in new:
                before_html = Markup(_link(section.content, name, "base"))
                path = list(section.path)
                page.changes.append(
                    Change(name, anchor, section.title, path, before_html, None, [])
                )
        found.append(page)
    return found


def write(fork: Fork) -> Path:
    """Write the review page.

    Args:
        fork: the repository, with both trees' documentation built.

    Returns:
        The page.

    Raises:
        KitError: as changes().
    """
    kit = fork.root / "docs_changes"
    loader = jinja2.FileSystemLoader(kit)
    template = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    ).get_template("review.html.jinja")
    found = changes(fork)
    highlighting = {
        scheme: HtmlFormatter(style=style).get_style_defs(".highlight")
        for scheme, style in (("light", "default"), ("dark", "github-dark"))
    }
    page = docs.output(fork, "review") / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    text = template.render(
        pages=found,
        commits=list(_commits(fork).values()),
        highlighting=highlighting,
        count=sum(len(each.changes) for each in found),
    )
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")
    return page
