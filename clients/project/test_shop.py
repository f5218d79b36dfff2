"""The shop's tests, with pytest-django's and pytest-playwright's fixtures."""

import pytest
from shop.models import Book

URL = "http://shop.example/"


@pytest.fixture
def book(db):
    return Book.objects.create(title="Emma")


def serve(page, client):
    """Let Django's test client answer what the browser asks for."""

    def answer(route):
        request = route.request
        if request.method == "POST":
            form = "application/x-www-form-urlencoded"
            client.post("/", request.post_data, content_type=form)
        route.fulfill(body=client.get("/").content, content_type="text/html")

    page.route(URL, answer)


def items(page):
    return page.get_by_role("listitem").all_inner_texts()


def test_browser_started_late(book, client, request):
    page = request.getfixturevalue("page")
    page.set_content(client.get("/").text)
    assert items(page) == ["Emma"]


def test_form(book, client, page):
    serve(page, client)
    page.goto(URL)
    assert items(page) == ["Emma"]
    page.get_by_role("textbox").fill("Persuasion")
    with page.expect_navigation():
        page.get_by_role("button").click()
    assert items(page) == ["Emma", "Persuasion"]
    assert Book.objects.count() == 2


def test_the_rows_are_gone(db, page):
    assert not Book.objects.exists()
