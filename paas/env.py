"""Every environment variable we read: typed, documented, checked at start-up. Nothing else reads the environment.

What a variable was at the last start is kept in `PAAS_HOME/paas.env` and serves as its default from then on, so that
later commands find the same platform. The environment wins over that file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from runtime.outbound.addresses import NetworkRange, parse_ranges

CHECKOUT = Path(__file__).resolve().parent.parent


class BadEnvironment(Exception):
    """A variable has a value we can't use. The message names it and says what would do."""


@dataclass(frozen=True)
class Variable:
    name: str
    default: str
    about: str


DEFAULT_PORT_RANGE = "20000-20199"
DOORS = ("dashboard", "api", "git", "registry")  # the platform's own names below its domain

VARIABLES: tuple[Variable, ...] = (
    Variable("PAAS_HOME", "var/ in the checkout", "The one folder that holds all state."),
    Variable(
        "PAAS_DOMAIN",
        "localhost",
        "Apps answer at APP.DOMAIN, the platform at dashboard., api., git. and registry.DOMAIN.",
    ),
    Variable("PAAS_HTTP_ADDRESS", "0.0.0.0", "Address the router listens on."),  # noqa: S104
    Variable("PAAS_HTTP_PORT", "80", "Port of the router for HTTP."),
    Variable("PAAS_HTTPS_PORT", "443", "Port of the router for HTTPS; 0 switches it off."),
    Variable(
        "PAAS_PORT_RANGE",
        DEFAULT_PORT_RANGE,
        "Public ports for TCP and UDP; the next 200 where these are taken at the first start. 0 switches them off.",
    ),
    Variable(
        "PAAS_API_PORT",
        "5443",
        "Loopback port for HTTPS at https://localhost: the API, git and the registry under one name, as the Heroku CLI"
        " wants it; 0 switches it off.",
    ),
    Variable("PAAS_RENDEZVOUS_PORT", "5444", "Port for the terminals of one-off runs, TLS; 0 switches it off."),
    Variable("PAAS_SSH_PORT", "2222", "Port for git and a few commands over SSH; 0 switches it off."),
    Variable(
        "PAAS_TLS_CERT", "", "File with a certificate for the platform's names, and its chain: PEM, instead of ours."
    ),
    Variable("PAAS_TLS_KEY", "", "File with the key of PAAS_TLS_CERT."),
    Variable("PAAS_REGISTRY_PORT", "5000", "Loopback port of the bundled registry, for the container engine."),
    Variable("PAAS_REGISTRY_URL", "", "Another registry instead of the bundled one; credentials may be part of the URL."),
    Variable("DATABASE_URL", "", "postgres://user:password@host/name instead of SQLite under PAAS_HOME."),
    Variable("REDIS_URL", "", "Another Redis instead of the bundled one."),
    Variable("DOCKER_HOST", "unix:///var/run/docker.sock", "The container engine."),
    Variable("PAAS_NETWORK_POOL", "10.210.0.0/16", "Each app gets its own small network out of this range."),
    Variable("PAAS_DEBIAN_MIRROR", "", "Mirror for the stacks; mmdebstrap's own default when empty."),
    Variable("PAAS_STACK_CACHE", "", "Folder that keeps stacks already made, shared by several homes; none when empty."),
    Variable("PAAS_CA_BUNDLE", "the host's bundle", "CA certificates that build containers trust."),
    Variable("PAAS_BUILD_*", "", "Given to every build container without the prefix: PAAS_BUILD_HTTPS_PROXY, …"),
    Variable("PAAS_BUILD_MOUNTS", "", "Folders of the host that builds may read, separated by colons."),
    Variable("PAAS_BUILD_MEMORY_MB", "2048", "Memory limit of a build container."),
    Variable("PAAS_BUILD_TIMEOUT", "1200", "Seconds after which a build is stopped."),
    Variable("PAAS_MAX_PUSH_MB", "256", "Largest pack that a push may send."),
    Variable("PAAS_APP_MEMORY_MB", "512", "Default memory limit of an instance."),
    Variable("PAAS_AUDIT_DAYS", "365", "How long the audit log is kept; 0 for ever."),
    Variable("PAAS_RUN_TIMEOUT", "3600", "Seconds after which a one-off run without a terminal is stopped."),
    Variable("PAAS_LOG_APP_MB", "64", "Disk that the log of one app may take, packed. Its oldest part goes first."),
    Variable("PAAS_LOG_TOTAL_MB", "2048", "Disk that the logs of all apps may take together; who has most loses first."),
    Variable("PAAS_LOG_DAYS", "30", "Days after which a part of an app's log is deleted."),
    Variable(
        "PAAS_HOOKS_ALLOW",
        "",
        "Ranges of addresses, separated by commas, that webhooks, chats, log drains and archives may lead to although "
        "they are not public: 10.1.0.0/16.",
    ),
    Variable("PAAS_SMTP_URL", "", "smtp:// or smtps://USER:PASSWORD@HOST:PORT. No mail is sent without."),
    Variable("PAAS_MAIL_FROM", "paas@ and PAAS_DOMAIN", "Who mails of the platform are from."),
    Variable(
        "PAAS_ADMINS_NEED_TWO_FACTOR", "0", "1: admins have to set up two-factor authentication before anything else."
    ),
    Variable("PAAS_DEBUG", "0", "1 shows tracebacks in the browser. Never in production."),
    Variable("PAAS_LOG_FORMAT", "text", "`json` for one JSON object a line."),
)

# Settings of package managers that builds inherit from the host as they are: this is how builds work behind a corporate
# proxy without anybody configuring anything twice.
INHERITED = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT",
    "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_HTTP_TIMEOUT",
    "NPM_CONFIG_REGISTRY", "npm_config_registry",
)  # fmt: skip

OWN_CERTIFICATES = Path("/usr/local/share/ca-certificates")  # where Debian keeps what an operator adds
CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@dataclass(frozen=True)
class Env:
    home: Path
    domain: str
    http_address: str
    http_port: int
    https_port: int
    port_range: tuple[int, int] | None  # public ports for TCP and UDP
    api_port: int
    rendezvous_port: int
    ssh_port: int
    tls_certificate: Path | None
    tls_key: Path | None
    registry_port: int
    registry_url: str
    database_url: str
    redis_url: str
    docker_host: str
    network_pool: str
    debian_mirror: str
    stack_cache: Path | None
    ca_bundle: Path | None
    has_own_ca: bool
    build_environment: Mapping[str, str]
    build_mounts: tuple[Path, ...]
    build_memory_bytes: int
    build_timeout_seconds: int
    max_push_bytes: int
    app_memory_bytes: int
    audit_days: int
    admins_need_two_factor: bool
    run_timeout_seconds: int
    log_app_bytes: int
    log_total_bytes: int
    log_days: int
    hooks_allow: tuple[NetworkRange, ...]
    smtp_url: str
    mail_from: str
    debug: bool
    log_format: str
    external_registry: bool = field(default=False)
    external_redis: bool = field(default=False)

    def address(self, name: str = "", scheme: str = "http") -> str:
        """Where people reach a name below the domain: `http://git.apps.example.com:8080`, the usual port left out."""
        port, usual = (self.http_port, 80) if scheme == "http" else (self.https_port, 443)
        return f"{scheme}://{name}{'.' if name else ''}{self.domain}" + ("" if port == usual else f":{port}")

    @property
    def scheme(self) -> str:
        """How machines should talk to us from afar."""
        return "https" if self.https_port else "http"

    @property
    def heroku_domain(self) -> str:
        """The domain that the Heroku CLI is given for this platform. It refuses a name without `localhost` in it, and
        then sends what it has to heroku.com, token included."""
        return self.domain if "localhost" in self.domain else f"localhost.{self.domain}"

    @property
    def door_domains(self) -> tuple[str, ...]:
        """Below each of them are all `DOORS`."""
        return tuple(dict.fromkeys((self.domain, self.heroku_domain)))

    @property
    def own_names(self) -> tuple[str, ...]:
        """What a certificate of the platform has to cover. The doors by name too: OpenSSL takes no wildcard right below a
        top-level name, and `localhost` is one."""
        names: list[str] = []
        for domain in self.door_domains:
            names += [f"*.{domain}", domain, *(f"{door}.{domain}" for door in DOORS)]
        return tuple(dict.fromkeys([*names, "localhost", "127.0.0.1", "::1"]))

    @property
    def api_url(self) -> str:
        return self.address("api", self.scheme)

    @property
    def api_local_url(self) -> str:
        """The API, git and the registry under one name, on this machine only. "" when it is off."""
        return f"https://localhost:{self.api_port}" if self.api_port else ""

    @property
    def ssh_url(self) -> str:
        """What stands before `/APP.git` in a remote. "" when it is off."""
        port = "" if self.ssh_port == 22 else f":{self.ssh_port}"
        return f"ssh://git@git.{self.domain}{port}" if self.ssh_port else ""

    def rendezvous_url(self, host: str, secret: str) -> str:
        """Where the terminal of a run is met, for a client that calls us by this host name."""
        return f"rendezvous://{host}:{self.rendezvous_port}/{secret}"

    @property
    def ca_file(self) -> Path:
        """Root certificate of the platform's own authority."""
        return self.home / "certs" / "ca.pem"

    @property
    def own_certificate(self) -> tuple[Path, Path]:
        """Files of the key and of the chain that the platform's own authority has signed, for all `own_names`."""
        return self.home / "certs" / "platform.key", self.home / "certs" / "platform.pem"

    @property
    def ssh_host_key(self) -> Path:
        """Beside it, with `.pub` behind its name, is its public half."""
        return self.home / "certs" / "ssh_host_ed25519_key"

    @property
    def registry_socket(self) -> Path:
        """Where the bundled registry listens. The engine, which takes only TCP, reaches it through the router."""
        return self.run_dir / "registry.sock"

    @property
    def registry_key(self) -> tuple[Path, Path]:
        """Files of the key that signs tokens for the bundled registry, and of the certificate by which it knows them."""
        return self.home / "registry" / "token.key", self.home / "registry" / "token.pem"

    @property
    def registry_name(self) -> str:
        """What stands before an app's name in `docker push`."""
        return self.address("registry", self.scheme).partition("://")[2]

    @property
    def run_dir(self) -> Path:
        """Unix sockets: web.sock, git.sock, streams.sock, registry.sock, redis.sock."""
        return self.home / "run"

    @property
    def app_logs(self) -> Path:
        """What apps said: a folder for each, by its id."""
        return self.home / "logs" / "apps"

    @property
    def broker_url(self) -> str:
        """`redis_url` as Celery spells it."""
        if self.redis_url.startswith("unix://"):
            return "redis+socket://" + self.redis_url.removeprefix("unix://").replace("?db=", "?virtual_host=")
        return self.redis_url

    @property
    def secret_file(self) -> Path:
        return self.home / "secret.key"

    @property
    def saved_file(self) -> Path:
        return self.home / "paas.env"


def load(environ: Mapping[str, str] | None = None) -> Env:
    """Raises `BadEnvironment`."""
    given = dict(os.environ if environ is None else environ)
    home = Path(given.get("PAAS_HOME") or CHECKOUT / "var").absolute()
    saved = {k: v for k, v in dotenv_values(home / "paas.env", interpolate=False).items() if v is not None}
    values = {**saved, **{k: v for k, v in given.items() if v != "" or k not in saved}}

    def text(name: str, default: str = "") -> str:
        return values.get(name, "").strip() or default

    def number(name: str, default: int, check: Callable[[int], bool] = lambda n: n >= 0) -> int:
        raw = text(name, str(default))
        if not raw.isascii() or not raw.isdigit() or not check(int(raw)):
            raise BadEnvironment(f"{name} is {raw!r}. Set it to a whole number, such as {default}.")
        return int(raw)

    def port(name: str, default: int) -> int:
        return number(name, default, lambda n: 0 <= n <= 65535)

    def port_range(name: str, default: str) -> tuple[int, int] | None:
        raw = text(name, default)
        low, dash, high = raw.partition("-")
        if raw == "0":
            return None
        ends = [int(end) if end.isascii() and end.isdigit() and len(end) <= 5 else 0 for end in (low, high)]
        if not dash or not 1024 <= ends[0] <= ends[1] <= 65535 or ends[1] - ends[0] >= 2000:
            raise BadEnvironment(f"{name} is {raw!r}. Set it to at most 2000 ports, such as {default}, or to 0.")
        return ends[0], ends[1]

    def ranges(name: str) -> tuple[NetworkRange, ...]:
        try:
            return parse_ranges(text(name))
        except ValueError as exc:
            raise BadEnvironment(f"{name}: {exc}. Set it to ranges of addresses, such as 10.1.0.0/16.") from exc

    longest = home / "router" / "run" / "admin.sock"
    if len(str(longest).encode()) > 100:
        raise BadEnvironment(
            f"PAAS_HOME is {home}: too long for the sockets under it (they end at 107 bytes). Choose a shorter path."
        )
    domain = text("PAAS_DOMAIN", "localhost").lower().strip(".")
    if not domain.replace(".", "").replace("-", "").isalnum() or not domain.isascii():
        raise BadEnvironment(f"PAAS_DOMAIN is {domain!r}. Set it to a domain name, such as apps.example.com.")
    registry_port = port("PAAS_REGISTRY_PORT", 5000)
    certificate, key = text("PAAS_TLS_CERT"), text("PAAS_TLS_KEY")
    if bool(certificate) != bool(key):
        there, missing = ("PAAS_TLS_CERT", "PAAS_TLS_KEY") if certificate else ("PAAS_TLS_KEY", "PAAS_TLS_CERT")
        raise BadEnvironment(f"{there} is set and {missing} is not. Set both, or neither.")
    bundle = text("PAAS_CA_BUNDLE") or text("SSL_CERT_FILE") or next((p for p in CA_BUNDLES if Path(p).exists()), "")
    smtp_url = text("PAAS_SMTP_URL")
    if smtp_url and not smtp_url.startswith(("smtp://", "smtps://")):
        raise BadEnvironment("PAAS_SMTP_URL has to begin with smtp:// or smtps://: smtp://USER:PASSWORD@HOST:PORT.")
    special = {"PAAS_BUILD_MOUNTS", "PAAS_BUILD_MEMORY_MB", "PAAS_BUILD_TIMEOUT"}
    build_environment = {name: values[name] for name in INHERITED if values.get(name)}
    build_environment |= {
        name.removeprefix("PAAS_BUILD_"): value
        for name, value in values.items()
        if name.startswith("PAAS_BUILD_") and name not in special
    }
    mounts = [Path(p) for p in text("PAAS_BUILD_MOUNTS").split(":") if p]
    find_links = text("PIP_FIND_LINKS")
    if find_links.startswith("/") and Path(find_links).is_dir():
        mounts.append(Path(find_links))
        build_environment.setdefault("UV_FIND_LINKS", find_links)
        build_environment.setdefault("PIP_FIND_LINKS", find_links)
    return Env(
        home=home,
        domain=domain,
        http_address=text("PAAS_HTTP_ADDRESS", "0.0.0.0"),  # noqa: S104  # the router is for visitors
        http_port=port("PAAS_HTTP_PORT", 80),
        https_port=port("PAAS_HTTPS_PORT", 443),
        port_range=port_range("PAAS_PORT_RANGE", DEFAULT_PORT_RANGE),
        api_port=port("PAAS_API_PORT", 5443),
        rendezvous_port=port("PAAS_RENDEZVOUS_PORT", 5444),
        ssh_port=port("PAAS_SSH_PORT", 2222),
        tls_certificate=Path(certificate) if certificate else None,
        tls_key=Path(key) if key else None,
        registry_port=registry_port,
        registry_url=text("PAAS_REGISTRY_URL", f"http://127.0.0.1:{registry_port}"),
        database_url=text("DATABASE_URL"),
        redis_url=text("REDIS_URL", f"unix://{home}/run/redis.sock?db=0"),
        docker_host=text("DOCKER_HOST", "unix:///var/run/docker.sock"),
        network_pool=text("PAAS_NETWORK_POOL", "10.210.0.0/16"),
        debian_mirror=text("PAAS_DEBIAN_MIRROR"),
        stack_cache=Path(text("PAAS_STACK_CACHE")) if text("PAAS_STACK_CACHE") else None,
        ca_bundle=Path(bundle) if bundle else None,
        has_own_ca=bool(text("PAAS_CA_BUNDLE")) or any(OWN_CERTIFICATES.rglob("*.crt")),
        build_environment=build_environment,
        build_mounts=tuple(mounts),
        build_memory_bytes=number("PAAS_BUILD_MEMORY_MB", 2048) * 1024 * 1024,
        build_timeout_seconds=number("PAAS_BUILD_TIMEOUT", 1200),
        max_push_bytes=number("PAAS_MAX_PUSH_MB", 256) * 1024 * 1024,
        app_memory_bytes=number("PAAS_APP_MEMORY_MB", 512) * 1024 * 1024,
        audit_days=number("PAAS_AUDIT_DAYS", 365),
        admins_need_two_factor=text("PAAS_ADMINS_NEED_TWO_FACTOR", "0") == "1",
        run_timeout_seconds=number("PAAS_RUN_TIMEOUT", 3600, lambda n: 0 < n <= 24 * 3600),
        log_app_bytes=number("PAAS_LOG_APP_MB", 64, lambda n: n > 0) * 1024 * 1024,
        log_total_bytes=number("PAAS_LOG_TOTAL_MB", 2048, lambda n: n > 0) * 1024 * 1024,
        log_days=number("PAAS_LOG_DAYS", 30, lambda n: 0 < n <= 3650),
        hooks_allow=ranges("PAAS_HOOKS_ALLOW"),
        smtp_url=smtp_url,
        mail_from=text("PAAS_MAIL_FROM", f"paas@{domain}"),
        debug=text("PAAS_DEBUG", "0") == "1",
        log_format=text("PAAS_LOG_FORMAT", "text"),
        external_registry=bool(text("PAAS_REGISTRY_URL")),
        external_redis=bool(text("REDIS_URL")),
    )
