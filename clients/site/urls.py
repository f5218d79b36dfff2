"""The project's URLs."""

from django.urls import path

from clients.site import views

urlpatterns = [
    path("stats", views.stats),
    path("meet/<int:parties>/<slug:name>", views.meet),
    path("stream/<int:number>", views.stream),
    path("cut/<int:number>", views.stream, {"endless": True}),
    path("<slug:kind>/<int:number>", views.write),
]
