"""Django's settings, all derived from `paas.env`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from paas import env as environment
from paas.core import keys
from paas.logging import configure as configure_logging

try:
    ENV = environment.load()
except environment.BadEnvironment as exc:
    raise ImproperlyConfigured(str(exc)) from exc

BASE_DIR = environment.CHECKOUT


def _keys() -> keys.Keys:
    """The one secret everything else derives from; `bin/up` makes it. Without it (tests, checks) a throw-away one."""
    try:
        return keys.read_keys(ENV.secret_file, made_before=ENV.saved_file)
    except keys.KeyLost as exc:
        raise ImproperlyConfigured(str(exc)) from None
    except OSError as exc:
        raise ImproperlyConfigured(f"{ENV.secret_file} can't be read: {exc.strerror}. Are you root?") from exc


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:12]


SECRET_KEY, SECRET_KEY_FALLBACKS = keys.session_secrets(_keys())
DEBUG = ENV.debug
# The router answers only names it knows; a check here would only break health checks.
ALLOWED_HOSTS = ["*"]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "paas.core",
    "paas.accounts",
    "paas.apps",
    "paas.releases",
    "paas.formation",
    "paas.metrics",
    "paas.config",
    "paas.routing",
    "paas.builds",
    "paas.pipelines",
    "paas.convergence",
    "paas.runs",
    "paas.machine",
    "paas.hooks",
    "paas.dashboard",
    "paas.api",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "paas.core.middleware.CompressionMiddleware",
    "paas.core.middleware.DoorMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "paas.core.middleware.RequestIdMiddleware",
    "paas.core.middleware.ContentSecurityPolicyMiddleware",
    "paas.core.middleware.SecureCookiesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "paas.accounts.middleware.SeenMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "paas.dashboard.middleware.SecondStepMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "paas.dashboard.middleware.FailureMiddleware",
]

ROOT_URLCONF = "paas.urls"
# X-Paas-Door of a request -> the view that answers all of that name. Imported when the first one comes.
DOORS = {"api": "paas.api.door.answer", "registry": "paas.api.registry.answer"}
WSGI_APPLICATION = "paas.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": ["paas.dashboard.templatetags.dashboard"],
        },
    },
]

DATABASES: dict[str, dict[str, object]]
if ENV.database_url:
    _db = urlsplit(ENV.database_url)
    if _db.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured("DATABASE_URL must start with postgres://. Leave it empty for SQLite.")
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _db.path.lstrip("/"),
            "USER": unquote(_db.username or ""),
            "PASSWORD": unquote(_db.password or ""),
            "HOST": _db.hostname or "",
            "PORT": str(_db.port or ""),
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(ENV.home / "paas.sqlite3"),
            # With IMMEDIATE a transaction waits for the write lock at its start; Django's default takes it late and fails
            # with "database is locked" at once when two writers meet.
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;",
            },
        }
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "apps"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ["email", "name"]},
    },
]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True

# The address changes with the files, so browsers may keep them for ever; what they name among themselves (fonts, modules)
# is relative and moves along. They come straight from static/: nothing is collected or built.
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_URL = f"/static/{_digest(BASE_DIR / 'static')}/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_MAX_AGE = 0 if DEBUG else 365 * 24 * 3600

SESSION_ENGINE = "paas.accounts.sessions"
SESSION_COOKIE_AGE = 14 * 86400
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME = "paas_session"
CSRF_COOKIE_NAME = "paas_csrf"
PASSWORD_RESET_TIMEOUT = 3600
CSRF_FAILURE_VIEW = "paas.dashboard.views.errors.refused"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
TEST_RUNNER = "django.test.runner.DiscoverRunner"

CELERY_BROKER_URL = ENV.broker_url
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_DEFAULT_QUEUE = "default"
# The builder talks to the registry anyway; the worker would have to load what that takes.
CELERY_TASK_ROUTES = {"builds.run_build": {"queue": "builds"}, "releases.publish_tags": {"queue": "builds"}}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_DELIVERY_MODE = "persistent"
CELERY_WORKER_ENABLE_REMOTE_CONTROL = True
# Longer than the longest build, or Redis would hand a running one out again. A worker that dies loses its claim in the
# database much sooner (paas.builds.services.reclaim).
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": ENV.build_timeout_seconds + 1800, "socket_keepalive": False}

configure_logging(ENV.log_format)
LOGGING_CONFIG = None
