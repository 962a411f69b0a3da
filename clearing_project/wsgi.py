"""The web process."""

import os

from django.core.wsgi import get_wsgi_application

from clearing_project import telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clearing_project.settings")
os.environ.setdefault("DATABASE_POOL", "1")
telemetry.instrument()
application = get_wsgi_application()
