"""Downloading, against a server on this machine that behaves well or badly."""

import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from smartbox.datasets import _fetch as module
from smartbox.datasets import fetch_extended_yale_b

N_GOOD = 2414


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Zip with the names of the real one and hardly any content."""
    path = tmp_path_factory.mktemp("server") / "x.zip"
    identities = [f"yaleB{i:02d}" for i in range(1, 40) if i != 14]
    names = [f"{identity}_P00A{i:+04d}E+00.pgm" for i in range(64) for identity in identities][:N_GOOD]
    with zipfile.ZipFile(path, "w") as out:
        for name in names:
            out.writestr(f"CroppedYale/{name[:7]}/{name}", f"content of {name}")
        out.writestr("CroppedYale/yaleB01/yaleB01_P00_Ambient.pgm", "ambient")
    return path.read_bytes()


class Server(ThreadingHTTPServer):
    """Serves `content`; `requests` lists the Range headers that came."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.requests = content, []
        self.version = '"1"'  # as ETag; None sends none
        self.ranges = True  # whether Range is honoured
        self.shift = 0  # bytes by which the ranges sent are wrong
        self.drops = 0  # answers still to be cut in the middle
        self.status = None  # of each answer, in place of the content
        self.url = f"http://127.0.0.1:{self.server_address[1]}/CroppedYale.zip"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append(wanted)
        if server.status:
            self.send_error(server.status)
            return
        same = self.headers.get("If-Range") in (None, server.version)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges and same else 0
        size = len(server.content)
        if start and start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + server.shift}-{size - 1}/{size}")
        if server.version:
            self.send_header("ETag", server.version)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.drops:
            server.drops -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(archive, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "_PAUSE", 0.001)
    monkeypatch.setattr(module, "_TIMEOUT", 10)
    with Server(archive) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def fetch(server, tmp_path):
    return lambda: fetch_extended_yale_b(data_home=tmp_path / "data", url=server.url)


@pytest.fixture
def part(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "CroppedYale.zip.part"


def assert_complete(path, archive):
    assert path.read_bytes() == archive
    assert [other.name for other in path.parent.iterdir()] == ["CroppedYale.zip"]


def test_once(fetch, server, archive, tmp_path):
    path = fetch()
    assert path == tmp_path / "data" / "CroppedYale.zip"
    assert_complete(path, archive)
    assert fetch() == path
    assert server.requests == [None]


def test_default_folder_is_the_cache(server, archive, cache):
    assert fetch_extended_yale_b(url=server.url) == cache / "CroppedYale.zip"


def test_what_is_there_but_damaged_is_replaced(fetch, server, archive):
    path = fetch()
    path.write_bytes(archive[: len(archive) // 2])
    assert_complete(fetch(), archive)
    assert server.requests == [None, None]


def test_resumes_after_drops(fetch, server, archive):
    server.drops = 2
    assert_complete(fetch(), archive)
    half = len(archive) // 2
    assert server.requests[:2] == [None, f"bytes={half}-"]
    assert len(server.requests) == 3


@pytest.mark.parametrize("version", ['"1"', None])
def test_resumes_in_a_later_call(fetch, server, archive, tmp_path, version):
    server.version, server.drops = version, 99
    with pytest.raises(ConnectionError):
        fetch()
    have = (tmp_path / "data" / "CroppedYale.zip.part").stat().st_size
    server.drops = 0
    assert_complete(fetch(), archive)
    assert server.requests[-1] == f"bytes={have}-"


def test_complete_part(fetch, server, archive, part):
    part.write_bytes(archive)
    assert_complete(fetch(), archive)
    assert server.requests == [f"bytes={len(archive)}-"]


def test_part_longer_than_the_file(fetch, server, archive, part):
    part.write_bytes(archive + b"more")
    assert_complete(fetch(), archive)
    assert server.requests == [f"bytes={len(archive) + 4}-", None]


def test_server_ignores_range(fetch, server, archive):
    server.ranges, server.drops = False, 1
    assert_complete(fetch(), archive)
    assert len(server.requests) == 2


def test_server_sends_another_range(fetch, server, archive, part):
    part.write_bytes(archive[:1000])
    server.shift = 7
    assert_complete(fetch(), archive)
    assert server.requests == ["bytes=1000-", None]


def test_file_changed_between(fetch, server, archive, tmp_path):
    server.content, server.version, server.drops = b"old" * 10**5, '"0"', 99
    with pytest.raises(ConnectionError):
        fetch()
    server.content, server.version, server.drops = archive, '"1"', 0
    assert_complete(fetch(), archive)


def test_part_of_something_else(fetch, server, archive, part):
    part.write_bytes(b"x" * 1000)
    assert_complete(fetch(), archive)
    assert server.requests == ["bytes=1000-", None]


def test_gives_up_in_the_end(fetch, server, tmp_path):
    server.drops = 99
    with pytest.raises(ConnectionError) as caught:
        fetch()
    message = str(caught.value)
    received = (tmp_path / "data" / "CroppedYale.zip.part").stat().st_size
    for text in (server.url, "5 attempts", f"{received:,} bytes", "by hand", "load_extended_yale_b"):
        assert text in message
    assert len(server.requests) == 5


@pytest.mark.parametrize(("status", "n_requests"), [(404, 1), (403, 1), (500, 5), (429, 5)])
def test_server_refuses(fetch, server, status, n_requests):
    server.status = status
    with pytest.raises(ConnectionError, match=rf"in {n_requests} attempts \(HTTP Error {status}.*0 bytes"):
        fetch()
    assert len(server.requests) == n_requests


def test_nobody_listens(tmp_path, server):
    server.server_close()
    with pytest.raises(ConnectionError, match=r"in 5 attempts.*by hand"):
        fetch_extended_yale_b(data_home=tmp_path, url=server.url)


def test_junk(fetch, server, tmp_path):
    server.content = b"<html>Sign in</html>"
    with pytest.raises(ValueError, match=r"127.0.0.1.* gave 20 bytes that are not the archive .*by hand"):
        fetch()
    assert list((tmp_path / "data").iterdir()) == []


def test_archive_with_a_missing_image(fetch, server, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as out:
        out.writestr("yaleB01_P00A+000E+00.pgm", "x")
    server.content = (tmp_path / "x.zip").read_bytes()
    with pytest.raises(ValueError, match=r"expected 2,414 images of 38 identities, got 1 of 1"):
        fetch()


def test_archive_with_a_flipped_bit(fetch, server, archive):
    server.content = archive.replace(b"content of yaleB39", b"c0ntent of yaleB39", 1)
    with pytest.raises(ValueError, match=r"yaleB39.*damaged in the archive"):
        fetch()


def test_endless_download(fetch, server, archive, monkeypatch):
    monkeypatch.setattr(module, "_MAX_DOWNLOAD", 1000)
    with pytest.raises(ValueError, match="sends more than 1,000 bytes"):
        fetch()
    assert len(server.requests) == 1


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x.zip", "CroppedYale.zip"])
def test_url(tmp_path, url):
    with pytest.raises(ValueError, match="url must start with http"):
        fetch_extended_yale_b(data_home=tmp_path, url=url)
