#!/usr/bin/env python
"""Run a management command."""

import os
import sys

from django.core.management import execute_from_command_line

from clearing_project import telemetry

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clearing_project.settings")
    telemetry.start(sys.argv[1] if len(sys.argv) > 1 else "manage")
    execute_from_command_line(sys.argv)
