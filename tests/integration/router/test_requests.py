"""What visitors and apps see of the router."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import threading
import time
from pathlib import Path

import httpx
import pytest

from runtime.errors import RouterError, RouterUnavailable
from runtime.router.api import InFlight, Route, RouteState
from runtime.router.ca import ensure_ca, issue
from runtime.router.nginx import NginxRouter
from tests.integration.router.conftest import RunningNginx, free_ports, until
from tests.integration.router.upstream import Upstream, WebSocket

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
SHOP = "shop.example.com"


def to(*upstreams: Upstream, **fields: object) -> Route:
    return Route(app="shop", hosts=(SHOP,), addresses=[upstream.address for upstream in upstreams], **fields)  # type: ignore[arg-type]


def test_a_request_reaches_the_app_that_has_its_host(nginx: RunningNginx, a: Upstream, b: Upstream) -> None:
    nginx.router.put(to(a))
    nginx.router.put(Route(app="blog", hosts=("*.blog.example.com",), addresses=(b.address,)))
    assert nginx.get(SHOP).text == "A"
    assert nginx.get("SHOP.example.com:80").text == "A"
    assert nginx.get("any.where.blog.example.com").text == "B"
    assert nginx.get("blog.example.com").status_code == 404


def test_a_switch_is_seen_by_the_next_request(nginx: RunningNginx, a: Upstream, b: Upstream) -> None:
    for upstream in (a, b, a, b):
        nginx.router.put(to(upstream))
        assert {nginx.get(SHOP).text for _ in range(4)} == {upstream.name}


# Answers of the router's own


@pytest.mark.parametrize("accept", [HTML, "application/json", "*/*"])
def test_an_unknown_host_is_a_404_that_names_it(nginx: RunningNginx, accept: str) -> None:
    answer = nginx.get("nobody.example.com", accept=accept)
    assert answer.status_code == 404
    assert "nobody.example.com" in answer.text
    assert answer.headers["X-Request-Id"] in answer.text


def test_programs_get_an_id_and_a_message(nginx: RunningNginx) -> None:
    answer = nginx.get("nobody.example.com", accept="application/json")
    assert answer.json()["id"] == "app_unknown"
    assert set(answer.json()) == {"id", "message", "request_id"}


def test_a_page_holds_no_markup_of_the_visitor(nginx: RunningNginx) -> None:
    request = b"GET / HTTP/1.1\r\nHost: <b>'x'\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    answer = nginx.raw(request)
    assert b"&lt;b&gt;&#39;x&#39;" in answer or b" 400 " in answer
    assert b"<b>'x'" not in answer
    assert (
        nginx.get("nobody.example.com", accept=HTML).headers["Content-Security-Policy"].startswith("default-src 'none'")
    )


def test_an_app_that_is_down_says_so_and_when_to_try_again(nginx: RunningNginx) -> None:
    nginx.router.put(to(state=RouteState.DOWN))
    for answer in (nginx.get(SHOP, accept=HTML), nginx.post(SHOP, "/", b"x" * 100_000)):
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "not running" in answer.text
        assert "paas ps -a shop" in answer.text


def test_an_app_without_instances_is_down(nginx: RunningNginx) -> None:
    nginx.router.put(to())
    assert nginx.get(SHOP).status_code == 503


def test_maintenance_is_a_503_of_its_own(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a, state=RouteState.MAINTENANCE))
    answer = nginx.get(SHOP, accept=HTML)
    assert (answer.status_code, "maintenance" in answer.text) == (503, True)
    assert int(answer.headers["Retry-After"]) > 0


def test_an_own_maintenance_page_is_shown_as_it_is(nginx: RunningNginx, a: Upstream) -> None:
    page = """<!doctype html><title>Soon</title><p id="x">{{title}} %1 $host "quoted" 'single' ü 漢 <?lua os.exit() ?>"""
    nginx.router.put(to(a, state=RouteState.MAINTENANCE, page=page))
    before = (nginx.home / "nginx.conf").read_bytes()
    for accept in (HTML, "*/*"):
        answer = nginx.get(SHOP, accept=accept)
        assert (answer.status_code, answer.text) == (503, page)
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert int(answer.headers["Retry-After"]) > 0
    assert nginx.get(SHOP, accept="application/json").json()["id"] == "app_maintenance"
    assert nginx.router.get("shop").page == page
    assert (nginx.home / "nginx.conf").read_bytes() == before
    nginx.router.put(to(a))
    assert nginx.get(SHOP).status_code == 200


def test_the_largest_page_fits(nginx: RunningNginx, a: Upstream) -> None:
    page = "<p>" + "\n" * 20_000 + '"' * 20_000 + "漢" * 8_500
    nginx.router.put(to(a, state=RouteState.MAINTENANCE, page=page))
    assert nginx.get(SHOP, accept=HTML).text == page


def test_a_stopped_app_says_so_and_how_to_start_it(nginx: RunningNginx) -> None:
    nginx.router.put(to(state=RouteState.STOPPED))
    answer = nginx.get(SHOP, accept=HTML)
    assert (answer.status_code, "paas ps:start -a shop" in answer.text) == (503, True)
    assert nginx.get(SHOP, accept="application/json").json()["id"] == "app_stopped"


def test_an_app_that_refuses_the_connection_is_a_502(nginx: RunningNginx) -> None:
    nginx.router.put(Route(app="shop", hosts=(SHOP,), addresses=(f"127.0.0.1:{free_ports(1)[0]}",)))
    answer = nginx.get(SHOP, accept=HTML)
    assert answer.status_code == 502
    assert "did not answer" in answer.text
    assert "paas logs -a shop" in answer.text
    assert nginx.router.traffic()["shop"].requests["5xx"] == 1


def test_an_app_that_breaks_off_is_a_502(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a))
    assert nginx.get(SHOP, "/abort").status_code == 502


def test_an_app_that_is_too_slow_is_a_504_with_its_limit_and_is_asked_once(
    nginx: RunningNginx, a: Upstream, b: Upstream
) -> None:
    nginx.router.put(to(a, b, timeout_seconds=1))
    began = time.monotonic()
    answer = nginx.get(SHOP, "/hold", accept=HTML)
    assert answer.status_code == 504
    assert "within <b>1</b> seconds" in answer.text
    assert 0.9 < time.monotonic() - began < 1.9
    arrived = [upstream.arrived.acquire(blocking=False) for upstream in (a, b)]
    assert sorted(arrived) == [False, True]


@pytest.mark.parametrize("status", [404, 500, 502, 503, 504])
def test_an_apps_own_error_pages_pass(nginx: RunningNginx, a: Upstream, status: int) -> None:
    nginx.router.put(to(a))
    answer = nginx.get(SHOP, f"/status/{status}", accept=HTML)
    assert (answer.status_code, answer.text) == (status, "the app's own page")


def test_the_platform_has_pages_of_its_own_while_it_starts(nginx: RunningNginx) -> None:
    for name in ("dashboard", "api", "git", "registry"):
        answer = nginx.get(f"{name}.localhost", accept=HTML)
        assert (answer.status_code, "platform" in answer.text) == (502, True)
        assert answer.headers["X-Request-Id"] in answer.text


# Limits


def test_the_body_limit_of_an_app_holds_with_and_without_a_length(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a, max_body_bytes=100_000))
    assert nginx.post(SHOP, "/echo", b"x" * 100_000).json()["length"] == 100_000
    refused = nginx.post(SHOP, "/echo", b"x" * 100_001)
    assert (refused.status_code, "97.7 KiB" in refused.text) == (413, True)
    assert nginx.post(SHOP, "/echo", iter([b"x" * 50_000] * 2)).json()["length"] == 100_000
    assert nginx.post(SHOP, "/echo", iter([b"x" * 50_001] * 2)).status_code == 413


def test_the_routers_own_body_limit_holds_for_all(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a))
    refused = nginx.post(SHOP, "/echo", b"x" * (8 * 1024 * 1024 + 1))
    assert (refused.status_code, "8 MiB" in refused.text) == (413, True)


def test_an_unbuffered_body_reaches_the_app_while_it_is_sent(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a, buffered=False))
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as visitor:
        visitor.sendall(f"POST /hold HTTP/1.1\r\nHost: {SHOP}\r\nContent-Length: 10\r\n\r\n12345".encode())
        assert a.arrived.acquire(timeout=10)  # though five bytes are missing
        assert nginx.router.in_flight("shop", a.address) == InFlight(1, 0)
        visitor.sendall(b"67890")
        a.released.set()
        assert visitor.recv(100).startswith(b"HTTP/1.1 200")


# Headers


def seen_by_app(answer: httpx.Response) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for name, value in answer.json()["headers"]:
        headers.setdefault(name, []).append(value)
    return headers


def test_what_a_visitor_claims_about_itself_is_overwritten(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a))
    lies = {
        "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil", "X-Real-IP": "6.6.6.6",
        "X-Forwarded-Port": "1", "X-Request-Start": "0", "Forwarded": "for=6.6.6.6", "Proxy": "evil:80", "Upgrade": "h2c",
        "Connection": "X-Forwarded-For, upgrade",
    }  # fmt: skip
    seen = seen_by_app(nginx.client.get("/echo", headers={"Host": f"{SHOP}:{nginx.port}", **lies}))
    assert seen["x-forwarded-for"] == ["127.0.0.1"]
    assert seen["x-real-ip"] == ["127.0.0.1"]
    assert seen["x-forwarded-proto"] == ["http"]
    assert seen["x-forwarded-host"] == seen["host"] == [f"{SHOP}:{nginx.port}"]
    assert seen["x-forwarded-port"] == [str(nginx.port)]
    assert seen["x-request-start"][0].startswith("t=1")
    assert not {"forwarded", "proxy", "upgrade"} & set(seen)


def test_a_well_formed_request_id_is_kept_and_any_other_replaced(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a))
    for given in ("0123abcd-4567", "short", "a b c d e f g h", 'quote"-0123456789', "x" * 200):
        answer = nginx.get(SHOP, "/echo", x_request_id=given)
        (answered,) = answer.headers.get_list("X-Request-Id")
        assert seen_by_app(answer)["x-request-id"] == [answered]
        assert (answered == given) == (given == "0123abcd-4567")


def test_the_headers_of_a_route_are_in_every_answer(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a, headers={"X-Frame-Options": 'DENY; "q" \\ $host'}))
    assert nginx.get(SHOP).headers["X-Frame-Options"] == 'DENY; "q" \\ $host'


def test_the_name_in_the_request_line_goes_before_the_header(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a))
    request = f"GET http://{SHOP}/echo HTTP/1.1\r\nHost: other.example.com\r\nConnection: close\r\n\r\n"
    head, _, body = nginx.raw(request.encode()).partition(b"\r\n\r\n")
    assert b" 200 " in head
    assert ["host", SHOP] in json.loads(body)["headers"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: shop.example.com\r\nHost: other.example.com\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: shop.example.com/x\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: shop.example.com\r\n\r\n",
    ],
)
def test_requests_that_could_mean_two_things_are_refused(nginx: RunningNginx, a: Upstream, request_bytes: bytes) -> None:
    nginx.router.put(to(a))
    answer = nginx.raw(request_bytes)
    assert answer.split()[1] in {b"400", b"505"}, answer
    assert len(nginx.workers()) == 2


def test_a_path_reaches_the_app_as_it_was_sent(nginx: RunningNginx, a: Upstream) -> None:
    for buffered in (True, False):
        nginx.router.put(to(a, buffered=buffered))
        path = "/echo//a%2Fb/./c%20d?x=%26&y=1"
        request = f"GET {path} HTTP/1.1\r\nHost: {SHOP}\r\nConnection: close\r\n\r\n"
        assert json.loads(nginx.raw(request.encode()).partition(b"\r\n\r\n")[2])["path"] == path


def test_an_app_can_not_send_visitors_inside_the_router(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a))
    assert nginx.get(SHOP, "/inside").text == "not redirected"


# Instances


def test_requests_are_spread_over_instances_and_a_dead_one_is_skipped(nginx: RunningNginx, make_upstream) -> None:
    a, b = make_upstream("A"), make_upstream("B")
    nginx.router.put(to(a, b))
    assert {nginx.get(SHOP).text for _ in range(40)} == {"A", "B"}
    gone = Route(app="shop", hosts=(SHOP,), addresses=(a.address, f"127.0.0.1:{free_ports(1)[0]}"))
    nginx.router.put(gone)
    assert {nginx.get(SHOP).text for _ in range(60)} == {"A"}
    assert nginx.post(SHOP, "/echo", b"x" * 50_000).json()["length"] == 50_000


def test_two_choices_prefer_the_instance_with_less_to_do(nginx: RunningNginx, a: Upstream, b: Upstream) -> None:
    nginx.router.put(to(a))
    held = [threading.Thread(target=nginx.get, args=(SHOP, "/hold")) for _ in range(8)]
    for visitor in held:
        visitor.start()
    for _ in held:
        assert a.arrived.acquire(timeout=10)
    nginx.router.put(to(a, b))
    answers = [nginx.get(SHOP).text for _ in range(30)]
    a.released.set()
    for visitor in held:
        visitor.join()
    assert answers.count("B") >= 20  # a worker that holds none of the eight can't tell them apart


# Streams


def test_a_websocket_stays_open_through_switches(nginx: RunningNginx, a: Upstream, b: Upstream) -> None:
    nginx.router.put(to(a))
    client = WebSocket(nginx.port, SHOP)
    assert client.status == 101
    assert client.say("hello") == "A:hello"
    assert nginx.router.in_flight("shop", a.address) == InFlight(requests=0, websockets=1)
    for upstream in (b, a, b) * 3:
        nginx.router.put(to(upstream))
        assert client.say("still") == "A:still"
        assert nginx.get(SHOP).text == upstream.name
    assert nginx.router.drained("shop", a.address, timeout_seconds=5)
    client.close()
    until(lambda: nginx.router.in_flight("shop", a.address) == InFlight(0, 0), "the end of the WebSocket")


def test_server_sent_events_arrive_at_once(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a))
    with nginx.client.stream("GET", "/events", headers={"Host": SHOP}) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: one"  # while the app is silent and has not ended
        a.released.set()
        assert "data: two" in list(lines)


# TLS


def test_certificates_are_chosen_by_name_and_change_without_a_restart(
    nginx: RunningNginx, a: Upstream, tmp_path: Path
) -> None:
    authority = ensure_ca(tmp_path)
    context = ssl.create_default_context(cafile=str(authority.certificate))
    url = f"https://127.0.0.1:{nginx.https_port}/echo"

    def get(host: str) -> httpx.Response:
        with httpx.Client(verify=context, trust_env=False) as client:
            return client.get(url, headers={"Host": host}, extensions={"sni_hostname": host})

    nginx.router.put(Route(app="shop", hosts=("shop.apps.localhost",), addresses=(a.address,)))
    with pytest.raises(httpx.ConnectError):  # the placeholder, which nobody trusts
        get("shop.apps.localhost")
    try:
        for names in (["*.apps.localhost"], ["*.apps.localhost", "apps.localhost"]):
            key, chain = issue(authority, names)
            nginx.router.put_certificate("*.apps.localhost", key_pem=key, chain_pem=chain)
            assert seen_by_app(get("shop.apps.localhost"))["x-forwarded-proto"] == ["https"]
        assert nginx.router.certificate("*.apps.localhost") == (key, chain)
        with pytest.raises(RouterError) as refused:
            nginx.router.put_certificate("*.apps.localhost", key_pem=issue(authority, ["a"])[0], chain_pem=chain)
        assert refused.value.id == "bad_certificate"
        assert get("shop.apps.localhost").status_code == 200
    finally:
        nginx.router.remove_certificate("*.apps.localhost")


def test_plain_http_is_redirected_where_the_route_says_so(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a, force_https=True))
    answer = nginx.get(SHOP, "/a?b=c")
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"https://{SHOP}:{nginx.https_port}/a?b=c"


# Files and the log


def test_a_refused_change_leaves_no_file(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a))
    before = (nginx.home / "apps" / "shop.json").read_bytes()
    for thief in (Route(app="thief", hosts=(SHOP,)), Route(app="shop", hosts=(SHOP, "dashboard.localhost"))):
        with pytest.raises(RouterError):
            nginx.router.put(thief)
    assert [file.name for file in (nginx.home / "apps").glob("*.json")] == ["shop.json"]
    assert (nginx.home / "apps" / "shop.json").read_bytes() == before


def test_a_router_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "apps").mkdir()
    router = NginxRouter(tmp_path)
    assert not router.healthy()
    with pytest.raises(RouterUnavailable):
        router.put(Route(app="shop", hosts=()))
    assert not list((tmp_path / "apps").glob("*.json"))


def test_the_log_has_one_json_object_for_each_request(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a))
    answer = nginx.get(SHOP, '/echo?q="quoted"', user_agent='a "client" \\')
    log = nginx.home / "logs" / "access.json"
    until(lambda: log.exists() and answer.headers["X-Request-Id"] in log.read_text(), "the log to be written")
    (entry,) = [
        line for line in map(json.loads, log.read_text().splitlines()) if line["id"] == answer.headers["X-Request-Id"]
    ]
    assert (entry["app"], entry["status"], entry["host"], entry["upstream"]) == ("shop", 200, SHOP, a.address)
    assert entry["agent"] == 'a "client" \\'


def test_a_log_that_has_grown_is_put_aside_and_the_next_goes_on(nginx: RunningNginx, a: Upstream) -> None:
    nginx.router.put(to(a))
    log = nginx.home / "logs" / "access.json"
    before = nginx.get(SHOP).headers["X-Request-Id"]
    until(lambda: before in log.read_text(), "the log to be written")
    assert not nginx.router.rotate_logs()
    assert nginx.router.rotate_logs(max_bytes=1)
    until(log.exists, "a new log")
    after = nginx.get(SHOP).headers["X-Request-Id"]
    until(lambda: after in log.read_text(), "the new log to be written")
    assert before in log.with_name("access.json.1").read_text()


def test_500_apps_are_there_and_cost_little(nginx: RunningNginx, a: Upstream) -> None:
    for n in range(500):
        nginx.router.put(Route(app=f"app-{n}", hosts=(f"app-{n}.localhost",), addresses=(a.address,)))
    assert len(nginx.router.table()) == 500
    for n in (0, 250, 499):
        assert nginx.get(f"app-{n}.localhost").text == "A"
    memory = nginx.router.status()["memory"]
    assert all(part["free"] > part["capacity"] * 0.8 for part in memory.values()), memory


def test_whole_bodies_arrive_through_switches(nginx: RunningNginx, a: Upstream, b: Upstream) -> None:
    nginx.router.put(to(a))
    stop = threading.Event()
    failures: list[object] = []
    done = [0]

    def post() -> None:
        with httpx.Client(trust_env=False, timeout=30, headers={"Host": SHOP}) as client:
            number = 0
            while not stop.is_set():
                number += 1
                body = hashlib.sha256(str(number).encode()).digest() * 6400  # 200 KB
                content = body if number % 2 else iter([body[:100_000], body[100_000:]])
                try:
                    answer = client.post(nginx.url + "/echo", content=content).json()
                except Exception as exc:  # noqa: BLE001  # whatever it was, it failed
                    failures.append(exc)
                    continue
                done[0] += 1
                if answer["sha256"] != hashlib.sha256(body).hexdigest():
                    failures.append(answer)

    visitors = [threading.Thread(target=post) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    for upstream in (b, a) * 10:
        already = done[0]
        nginx.router.put(to(upstream))
        until(lambda already=already: done[0] > already + 2 or failures, "some requests")  # type: ignore[misc]
    stop.set()
    for visitor in visitors:
        visitor.join()
    assert not failures
    assert done[0] > 60
