"""One id goes from a request through answers, logs, messages to workers and events."""

import json
import logging
import logging.config

import pytest
from celery import signals
from celery.app.task import Context

from clearing import tasks
from clearing.models import WindowEvent
from clearing_project import trace
from clearing_project.celery import bind_task, release_task
from clearing_project.logs import FORMATS, configuration
from tests.clearing.api.caller import Caller

pytestmark = pytest.mark.django_db

OPEN = {"region": "Americas"}


def send(caller: Caller, request_id: str | None, path: str = "/api/v1/clearing/windows") -> str:
    """Ask with an id of ours, or with none; return the answer's."""
    headers = {"Authorization": f"Bearer {caller.token}"} | (
        {"X-Request-ID": request_id} if request_id else {}
    )
    return str(caller.client.get(path, headers=headers).headers["X-Request-ID"])


def test_a_sound_id_is_kept(operator: Caller) -> None:
    assert send(operator, "order-17/2026") == "order-17/2026"


@pytest.mark.parametrize("unsound", [None, "x" * 65, "a b", "a\tb", "ü", '"', "{}"])
def test_an_unsound_id_gives_way_to_a_new_one(operator: Caller, unsound: str | None) -> None:
    given = send(operator, unsound)

    assert given != unsound
    assert len(given) == 32
    assert send(operator, unsound) != given


@pytest.mark.parametrize(
    "path", ["/api/v1/nowhere", "/health/live", "/metrics", "/admin/", "/nowhere", "/api/schema"]
)
def test_every_answer_says_its_id(operator: Caller, path: str) -> None:
    assert send(operator, "mine", path) == "mine"


def test_an_event_keeps_the_id_of_its_request(operator: Caller) -> None:
    headers = {"Authorization": f"Bearer {operator.token}", "X-Request-ID": "opened-by-me"}

    operator.client.post("/api/v1/clearing/windows", OPEN, "application/json", headers=headers)

    (event,) = WindowEvent.objects.all()
    assert event.data["request_id"] == "opened-by-me"
    assert trace.request_id() is None


def test_a_message_carries_the_id_and_its_task_goes_on_under_it() -> None:
    headers: dict[str, str] = {}
    with trace.work(request_id="from-the-web"):
        signals.before_task_publish.send(sender="clearing.tasks.tick", headers=headers)
    assert headers == {"request_id": "from-the-web"}

    tasks.tick.push_request(**headers)
    try:
        bind_task(task_id="task-1", task=tasks.tick)
        assert trace.request_id() == "from-the-web"
        release_task()
        assert trace.request_id() is None
    finally:
        tasks.tick.pop_request()


def test_what_beat_starts_is_its_own_request() -> None:
    assert not hasattr(Context(), "request_id")

    bind_task(task_id="task-1", task=tasks.tick)

    assert trace.request_id() == "task-1"
    release_task()


@pytest.mark.parametrize("style", FORMATS)
def test_a_line_bears_request_and_window_and_no_value_of_a_variable(
    style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    formatter = logging.config.DictConfigurator(configuration(style=style, level="INFO"))
    form = formatter.configure_formatter(formatter.config["formatters"]["ours"])
    password = "secret" + "value"

    def line() -> str:
        try:
            raise RuntimeError(str(len(password)))
        except RuntimeError:
            logger, seen = logging.getLogger("test.lines"), []
            handler = logging.Handler()
            handler.emit = lambda record: seen.append(form.format(record))  # type: ignore[method-assign]
            logger.addHandler(handler)
            logger.exception("operation %s stopped", 7, extra={"step": "seal"})
            logger.removeHandler(handler)
            return str(seen[0])

    with trace.work(request_id="r-1", window_id=12):
        written = line()

    for part in ("operation 7 stopped", "r-1", "12", "seal", "RuntimeError"):
        assert part in written
    assert "secretvalue" not in written
    if style == "json":
        told = json.loads(written)
        assert (told["request_id"], told["window_id"], told["step"]) == ("r-1", 12, "seal")
        assert (told["level"], told["logger"]) == ("error", "test.lines")
        assert "\n" not in written


def test_a_request_is_logged_with_what_came_of_it(operator: Caller, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "clearing.api.middleware"):
        operator.get("windows/999999")

    (record,) = [each for each in caplog.records if each.name == "clearing.api.middleware"]
    told = vars(record)
    assert (told["method"], told["path"], told["status"]) == ("GET", "/api/v1/clearing/windows/999999", 404)
