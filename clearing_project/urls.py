"""Addresses of every HTTP door."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", include("clearing.console.urls")),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("", include("clearing.api.urls")),
]
handler400 = "clearing.api.problems.bad_request"
handler404 = "clearing.api.problems.page_not_found"
handler500 = "clearing.api.problems.server_error"
