"""The console's address."""

from django.urls import path

from clearing.console.views import console

urlpatterns = [path("", console, name="console")]
