"""An archive is fetched over https, within limits, and from nowhere within the machine's own network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from runtime.errors import BuildFailed
from runtime.outbound.addresses import parse_ranges
from runtime.sources.fetch import Fetcher, FetchSettings, without_secrets

PUBLIC = "93.184.216.34"
Answer = Callable[[httpx.Request], httpx.Response]


class Net:
    """Names and what answers at them; remembers what was asked."""

    def __init__(self, answer: Answer, **names: str) -> None:
        self.asked: list[httpx.Request] = []
        self._answer, self._names = answer, {name.replace("_", "."): value for name, value in names.items()}

    def resolve(self, host: str, port: int) -> list[str]:
        if host not in self._names:
            raise OSError("Name or service not known")
        return self._names[host].split()

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self._answer(request)

    def fetcher(self, **fields: object) -> Fetcher:
        settings = FetchSettings(**({"max_bytes": 1000} | fields))  # type: ignore[arg-type]
        return Fetcher(settings, resolve=self.resolve, transport=httpx.MockTransport(self.handle))


def serving(content: bytes) -> Answer:
    return lambda request: httpx.Response(200, stream=httpx.ByteStream(content))


def refusal(fetcher: Fetcher, url: str, out: Path) -> BuildFailed:
    with pytest.raises(BuildFailed) as caught:
        fetcher.fetch(url, out / "out")
    return caught.value


def test_an_archive_is_fetched_from_the_address_that_was_judged(tmp_path: Path):
    net = Net(serving(b"archive"), code_example=PUBLIC)
    net.fetcher().fetch("https://alice:secret@code.example/a.tar.gz?signed=1", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"archive"
    (request,) = net.asked
    assert str(request.url.copy_with(userinfo=b"")) == f"https://{PUBLIC}/a.tar.gz?signed=1"
    assert request.headers["Host"] == "code.example"
    assert request.extensions["sni_hostname"] == "code.example"
    assert request.headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("names", ["127.0.0.1", "169.254.169.254", f"{PUBLIC} 10.0.0.1", "::ffff:10.0.0.1"])
def test_a_name_that_leads_into_the_own_network_is_refused_without_a_request(tmp_path: Path, names: str):
    net = Net(serving(b"secrets"), inside_example=names)
    failure = refusal(net.fetcher(), "https://inside.example/latest/meta-data", tmp_path)
    assert failure.id == "source_refused"
    assert "inside.example is an address within the platform's own network" in failure.message
    assert net.asked == []


def test_a_redirect_into_the_own_network_is_refused_as_well(tmp_path: Path):
    net = Net(
        lambda request: httpx.Response(302, headers={"Location": "https://inside.example/"}),
        code_example=PUBLIC,
        inside_example="127.0.0.1",
    )
    assert refusal(net.fetcher(), "https://code.example/a", tmp_path).id == "source_refused"
    assert len(net.asked) == 1


def test_redirects_are_followed_and_end_somewhere(tmp_path: Path):
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/a":
            return httpx.Response(302, headers={"Location": "/b"})
        return httpx.Response(200, stream=httpx.ByteStream(b"b"))

    Net(answer, code_example=PUBLIC).fetcher().fetch("https://code.example/a", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"b"
    endless = Net(lambda request: httpx.Response(302, headers={"Location": "/a"}), code_example=PUBLIC)
    assert "without an end" in refusal(endless.fetcher(), "https://code.example/a", tmp_path).message
    assert len(endless.asked) == 6


@pytest.mark.parametrize(
    "url", ["http://code.example/a", "file:///etc/passwd", "ftp://code.example/", "nonsense", "https://"]
)
def test_only_https_is_fetched(tmp_path: Path, url: str):
    net = Net(serving(b""), code_example=PUBLIC)
    assert refusal(net.fetcher(), url, tmp_path).id == "source_refused"
    assert net.asked == []


def test_an_operator_can_allow_the_own_network(tmp_path: Path):
    net = Net(serving(b"archive"), inside_example="10.0.0.1")
    net.fetcher(allowed=parse_ranges("10.0.0.0/8")).fetch("http://inside.example/a", tmp_path / "out")
    assert str(net.asked[0].url) == "http://10.0.0.1/a"


def test_what_is_too_large_is_not_fetched_to_its_end(tmp_path: Path):
    net = Net(serving(bytes(1001)), code_example=PUBLIC)
    failure = refusal(net.fetcher(), "https://code.example/a", tmp_path)
    assert failure.id == "source_too_large"
    assert (tmp_path / "out").stat().st_size <= 1000


def test_what_is_not_there_is_named_with_its_host_alone(tmp_path: Path):
    net = Net(lambda request: httpx.Response(404), code_example=PUBLIC)
    failure = refusal(net.fetcher(), "https://code.example/a?signed=secret", tmp_path)
    assert (failure.id, failure.message) == ("source_unavailable", "The archive at code.example answered 404 Not Found.")
    assert refusal(net.fetcher(), "https://unknown.example/", tmp_path).id == "source_unavailable"


def test_with_a_proxy_it_looks_names_up_but_no_address_of_ours_is_asked_for(tmp_path: Path):
    net = Net(serving(b"archive"))
    fetcher = net.fetcher(environment={"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "direct.example"})
    fetcher.fetch("https://code.example/a", tmp_path / "out")
    assert net.asked[0].url.host == "code.example"
    assert refusal(fetcher, "https://direct.example/a", tmp_path).id == "source_unavailable"  # no name server knows it
    literal = Net(serving(b""), **{"127_0_0_1": "127.0.0.1"}).fetcher(environment={"https_proxy": "http://p:1"})
    assert refusal(literal, "https://127.0.0.1/", tmp_path).id == "source_refused"


def test_addresses_are_shown_without_what_gives_access():
    assert without_secrets("https://u:p@code.example/a.tar.gz?X-Signature=1#f") == "https://code.example/a.tar.gz"
