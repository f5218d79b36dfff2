"""One page: the books, and a form for another one."""

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils.html import format_html, format_html_join

from shop.models import Book


def books(request):
    """List the books, or add one."""
    if request.method == "POST":
        Book.objects.create(title=request.POST["title"])
        return HttpResponseRedirect("/")
    titles = Book.objects.order_by("pk").values_list("title")
    items = format_html_join("", "<li>{}</li>", titles)
    form = "<form method=post><input name=title><button>Add</button></form>"
    return HttpResponse(format_html(f"<ul>{{}}</ul>{form}", items))


urlpatterns = [path("", books)]
