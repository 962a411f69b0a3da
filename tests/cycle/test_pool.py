"""The pool of the doors survives a restart of PostgreSQL: one request meets what is dead, not one each."""

import os
import subprocess
import sys

import pytest

from clearing_project.stack.runtime import REPOSITORY

RESTARTED = """
import asyncio, django, os, psycopg
django.setup()
from django.db import OperationalError, connection
from django.test import Client
from clearing.rpc.database import Database

def one():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")

def kill():
    with psycopg.connect(os.environ["DATABASE_URL"], application_name="killer", autocommit=True) as killer:
        ended = killer.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'pool-of-test'"
        ).fetchall()
    assert len(ended) >= 5, ended

def ask():
    status = Client(SERVER_NAME="localhost").get("/health/ready").status_code
    connection.close()  # which Django's client leaves out
    return status

async def calls():
    database, failed = Database(threads=1, name="test"), 0
    for _ in range(6):
        try:
            await database.call(one)
        except OperationalError:
            failed += 1
    await database.close()
    return failed

one()
connection.close()
connection.pool.wait()
kill()
print([ask() for _ in range(6)])
connection.pool.wait()
kill()
print(asyncio.run(calls()))
connection.pool.close()
"""


@pytest.mark.django_db
def test_after_the_death_of_every_connection_one_request_fails_and_the_rest_are_served(
    test_environment: dict[str, str],
) -> None:
    settings = {"DJANGO_SETTINGS_MODULE": "clearing_project.settings", "DATABASE_POOL": "true"}

    ran = subprocess.run(
        [sys.executable, "-c", RESTARTED],
        cwd=REPOSITORY,
        env={**os.environ, **test_environment, **settings, "PGAPPNAME": "pool-of-test"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["[503, 200, 200, 200, 200, 200]", "1"], ran.stderr
