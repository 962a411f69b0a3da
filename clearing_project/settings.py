"""Settings, all from the environment; names and defaults are public and listed in docs/settings.md."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ

from clearing_project import bounds, logs, security, telemetry
from clearing_project.stack.runtime import fill_environment

if sys.flags.optimize:
    raise SystemExit("python -O drops the assertions that guard money: run without it")

fill_environment()
telemetry.refuse_incomplete()
env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / ".data")))

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = security.secret_key(env, debug=DEBUG)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
globals().update(security.https(env, debug=DEBUG))
SESSION_COOKIE_AGE = 12 * 3600
X_FRAME_OPTIONS = "DENY"

HTTP_HOST = env.str("HTTP_HOST", default="127.0.0.1")
HTTP_PORT = env.int("HTTP_PORT", default=8085)
GRPC_PORT = env.int("GRPC_PORT", default=50055)
GRPC_TLS = {  # PEM files; all three or none
    "certificate": env.str("GRPC_TLS_CERT", default=""),
    "key": env.str("GRPC_TLS_KEY", default=""),
    "client_authority": env.str("GRPC_TLS_CLIENT_CA", default=""),
}
WEBHOOK_KEY = env.str("WEBHOOK_KEY", default=SECRET_KEY)  # secrets of endpoints are derived from it
WEBHOOKS_ALLOW_PRIVATE = env.bool("WEBHOOKS_ALLOW_PRIVATE", default=False)
FLOWER_PORT = env.int("FLOWER_PORT", default=5555)

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "settlement",
    "clearing",
]

MIDDLEWARE = [
    "clearing.api.middleware.with_request_id",
    "django.middleware.security.SecurityMiddleware",
    "clearing_project.csp.PolicyByPath",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "clearing.api.middleware.without_trailing_slash",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "clearing_project.urls"
WSGI_APPLICATION = "clearing_project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# --- servers ---------------------------------------------------------------------------------
# With neither a server named nor a stack running, the names below lead nowhere: commands that need
# no server (checks, schema) still work, the others say that they cannot connect.
DATABASES: dict[str, Any] = {
    "default": env.db_url("DATABASE_URL", default="postgres://clearing@127.0.0.1:5432/clearing")
}
DATABASES["default"]["OPTIONS"] = {
    **DATABASES["default"].get("OPTIONS", {}),
    "connect_timeout": 5,
    "options": "-c lock_timeout=15000 -c statement_timeout=300000"
    " -c idle_in_transaction_session_timeout=20000 -c client_connection_check_interval=2000",
}
if env.bool("DATABASE_POOL", default=False):  # web and gRPC; never under the worker's prefork
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 5, "max_size": 20, "timeout": 10}
else:
    DATABASES["default"]["CONN_MAX_AGE"] = env.int("DATABASE_CONN_MAX_AGE", default=60)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True

REDIS_URL = env.str("REDIS_URL", default="redis://127.0.0.1:6379/0")
NATS_URL = env.str("NATS_URL", default="nats://127.0.0.1:4222")
BROKER_URL = env.str("BROKER_URL", default=REDIS_URL)

CACHES = {  # counts of requests; a frozen Redis must not hold a request up
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "clearing",
        "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5},
    }
}

# --- Celery: each setting was kept through worker, broker and database kills -------------------
REDIS_TRANSPORT = {
    "visibility_timeout": 300,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_timeout": 10,  # with none, sending to a frozen broker blocks for over 45 s
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 25,
}
CELERY_BROKER_URL = BROKER_URL
CELERY_RESULT_BACKEND = REDIS_URL
if BROKER_URL.startswith(("amqp", "pyamqp")):
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {"confirm_publish": True}  # sent means stored
    CELERY_BROKER_HEARTBEAT = 20
    CELERY_TASK_DEFAULT_QUEUE_TYPE = (
        "quorum"  # survives the loss of a node; Celery then leaves out global QoS
    )
    CELERY_TASK_DEFAULT_EXCHANGE = "clearing"
    CELERY_TASK_DEFAULT_EXCHANGE_TYPE = "topic"  # retries with a delay wait at the broker, not in a worker
    CELERY_TASK_DEFAULT_ROUTING_KEY = "clearing"
else:
    CELERY_BROKER_TRANSPORT_OPTIONS = REDIS_TRANSPORT
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"retry_policy": {"timeout": 5.0}}
CELERY_RESULT_BACKEND_ALWAYS_RETRY = True  # else an outage at the end of a step fires the errback
CELERY_RESULT_EXPIRES = timedelta(days=2)  # far longer than a run: a chord with expired results hangs
CELERY_REDIS_SOCKET_TIMEOUT = 10.0
CELERY_REDIS_SOCKET_CONNECT_TIMEOUT = 3.0
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_ALLOW_ERROR_CB_ON_CHORD_HEADER = False
CELERY_TASK_DEFAULT_QUEUE = "clearing"
CELERY_TASK_SOFT_TIME_LIMIT, CELERY_TASK_TIME_LIMIT = 240, 270  # below the visibility timeout
CELERY_TASK_TRACK_STARTED = True
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 2, "interval_start": 0.1, "interval_step": 0.2}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CONSUMER = "clearing_project.consumer:SteadyConsumer"  # survives the loss of Redis
CELERY_WORKER_SEND_TASK_EVENTS = True  # Flower shows the tasks
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10.0
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULER = "clearing_project.beat:Scheduler"  # of several Beats one sends
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
CELERY_TIMEZONE = "UTC"
CELERY_DB_REUSE_MAX = 1000  # a connection serves many tasks, not one

# --- clearing ----------------------------------------------------------------------------------
CLEARING = {
    "WINDOW_DURATION_HOURS": env.int("CLEARING_WINDOW_DURATION_HOURS", default=6),
    "GRACE_PERIOD_SECONDS": env.int("CLEARING_GRACE_PERIOD_SECONDS", default=30),
    "MAX_OBLIGATIONS_PER_WINDOW": env.int("CLEARING_MAX_OBLIGATIONS_PER_WINDOW", default=10_000_000),
    "AUTO_SETTLE": env.bool("CLEARING_AUTO_SETTLE", default=True),
    "MIN_NETTING_EFFICIENCY": env.float("CLEARING_MIN_NETTING_EFFICIENCY", default=0.5),
    "EMERGENCY_THRESHOLD": env.float("CLEARING_EMERGENCY_THRESHOLD", default=0.3),
    "NETTING_MODE": env.str("CLEARING_NETTING_MODE", default="multilateral"),  # a region may differ
    "SHORTFALL_POLICY": env.str("CLEARING_SHORTFALL_POLICY", default="fail"),
    "RETENTION_DAYS": env.int("CLEARING_RETENTION_DAYS", default=90),
    "LEASE_SECONDS": env.float("CLEARING_LEASE_SECONDS", default=20.0),
    "ATTEMPTS_MAX": env.int("CLEARING_ATTEMPTS_MAX", default=6),
    "RUNS_MAX": env.int("CLEARING_RUNS_MAX", default=3),
    "PULL_POLICY": env.str("CLEARING_PULL_POLICY", default="hold"),
    "PULL_ATTEMPTS_MAX": env.int("CLEARING_PULL_ATTEMPTS_MAX", default=5),
    "INTAKE_ACK_SECONDS": env.float("CLEARING_INTAKE_ACK_SECONDS", default=30.0),
    "READS_PER_MINUTE": env.int("CLEARING_READS_PER_MINUTE", default=6000),  # of one token; 0: no limit
    "POSTS_PER_MINUTE": env.int("CLEARING_POSTS_PER_MINUTE", default=3000),
    "RISK_POLICY": env.str("CLEARING_RISK_POLICY", default="hold"),
    "SETTLEMENT_METHOD": env.str("CLEARING_SETTLEMENT_METHOD", default="SWIFT"),
    "SETTLEMENT_PARALLEL": env.int("CLEARING_SETTLEMENT_PARALLEL", default=8),
    "FAULTS": env.str("CLEARING_FAULTS", default=""),  # tests only
}

bounds.check(CLEARING)

# --- engines outside; an empty address: not used -------------------------------------------------
OBLIGATION_ENGINE_URL = env.str("OBLIGATION_ENGINE_URL", default="")
SETTLEMENT_ENGINE_URL = env.str("SETTLEMENT_ENGINE_URL", default="")
RISK_ENGINE_URL = env.str("RISK_ENGINE_URL", default="")
REMOTE = {
    "TIMEOUT_SECONDS": env.float("REMOTE_TIMEOUT_SECONDS", default=5.0),
    "ATTEMPTS_MAX": env.int("REMOTE_ATTEMPTS_MAX", default=3),
    "FAILURES_MAX": env.int("REMOTE_FAILURES_MAX", default=5),
    "RESET_SECONDS": env.float("REMOTE_RESET_SECONDS", default=15.0),
}

# --- REST --------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["clearing.api.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["clearing.api.permissions.DenyByDefault"],
    "DEFAULT_RENDERER_CLASSES": ["clearing.api.rendering.JSON"],
    "DEFAULT_PARSER_CLASSES": [],  # bodies are read by msgspec
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "clearing.api.problems.problem_response",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,  # `?format=` means nothing here
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Clearing engine",
    "DESCRIPTION": "Obligations in, windows cleared, settlement instructions out.\n\n"
    "Amounts are decimal strings in major units with exactly the currency's decimals; ratios are decimals"
    " from 0 to 1; moments are RFC 3339 in UTC. Errors are problems of RFC 9457, each with a stable `code`."
    " Lists are paged by cursor. An `Idempotency-Key` makes a POST safe to repeat.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "TAGS": [
        {"name": "windows", "description": "open, close, process, roll back"},
        {"name": "obligations", "description": "in bulk, and one by one"},
        {"name": "runs", "description": "what clearing a window did"},
        {"name": "settlement", "description": "instructions, participants, accounts"},
        {"name": "monitoring", "description": "how the engine is"},
    ],
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "POSTPROCESSING_HOOKS": ["clearing.api.schema.add_components"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": True, "docExpansion": "list"},
    "REDOC_DIST": "SIDECAR",
}
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024

UNFOLD = {
    "SITE_TITLE": "Clearing engine",
    "SITE_HEADER": "Clearing engine",
    "SITE_SYMBOL": "account_balance",
    "SITE_URL": "/",  # the operations console
    "STYLES": ["clearing.admin.sidebar.stylesheet"],
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "sizes": "any", "href": "clearing.admin.sidebar.icon"}
    ],
    "SIDEBAR": {"show_search": True, "navigation": "clearing.admin.sidebar.navigation"},
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        }
    },
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGGING = logs.configuration(
    style=env.str("LOG_FORMAT", default="line"), level=env.str("LOG_LEVEL", default="INFO")
)
