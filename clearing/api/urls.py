"""Addresses of the REST door. A slash at the end changes nothing."""

from django.urls import URLPattern, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerView
from rest_framework.views import APIView

from clearing.api.views import (
    corrections,
    executions,
    limits,
    monitoring,
    obligations,
    prometheus,
    runs,
    schedules,
    settlement,
    windows,
)

PREFIX = "api/v1/clearing/"

ROUTES: dict[str, type[APIView]] = {
    "windows": windows.Windows,
    "windows/current": windows.CurrentWindow,
    "windows/<int:window_id>": windows.OneWindow,
    "windows/<int:window_id>/status": windows.Standing,
    "windows/<int:window_id>/process": windows.Process,
    "windows/<int:window_id>/correct": corrections.Correct,
    "windows/<int:window_id>/preview": windows.Preview,
    "windows/<int:window_id>/result": runs.Result,
    "windows/<int:window_id>/positions": runs.Positions,
    "windows/<int:window_id>/events": runs.Events,
    "windows/<int:window_id>/operations": runs.WindowOperations,
    "operations/<uuid:operation_id>": runs.OneOperation,
    "obligations": obligations.Obligations,
    "obligations/<uuid:obligation_id>": obligations.OneObligation,
    "obligations/<uuid:obligation_id>/cancel": obligations.Cancel,
    "obligations/<uuid:obligation_id>/hold": obligations.Hold,
    "obligations/<uuid:obligation_id>/release": obligations.Release,
    "instructions": settlement.Instructions,
    "instructions/<uuid:instruction_id>": settlement.OneInstruction,
    "instructions/<uuid:instruction_id>/declare": executions.Declare,
    "participants": settlement.Participants,
    "participants/<str:code>": settlement.OneParticipant,
    "participants/<str:code>/limits": limits.Limits,
    "accounts": settlement.Accounts,
    "schedules": schedules.Schedules,
    "schedules/<str:region>": schedules.OneSchedule,
    "schedules/<str:region>/preview": schedules.Timetable,
    "force-close": windows.ForceClose,
    "emergency": windows.Emergency,
    "rollback/<int:window_id>": windows.RollBack,
    "metrics": monitoring.Metrics,
    "health": monitoring.EngineHealth,
}


def _routes() -> list[URLPattern]:
    return [path(f"{PREFIX}{route}", view.as_view()) for route, view in ROUTES.items()]


urlpatterns = [
    *_routes(),
    path("metrics", prometheus.metrics, name="prometheus"),
    path("health/live", monitoring.Live.as_view(), name="health-live"),
    path("health/ready", monitoring.Ready.as_view(), name="health-ready"),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("api/redoc", SpectacularRedocView.as_view(url_name="schema"), name="redoc"),
    re_path(r"^(api|health)(/|$)", monitoring.Nowhere.as_view()),
]
