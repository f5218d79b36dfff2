"""The project's URLs."""

from django.urls import path

from clients.site import views

urlpatterns = [
    path("stats", views.stats),
    path("stream/<int:number>", views.stream),
    path("cut/<int:number>", views.stream, {"endless": True}),
    path("<slug:kind>/<int:number>", views.write),
]
