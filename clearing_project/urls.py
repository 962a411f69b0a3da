"""Addresses of every HTTP door."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from clearing.console.views import console

urlpatterns = [
    path("", console, name="console"),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
]
