"""Downloads from a server of our own on loopback that behaves as badly as servers do."""

import hashlib
import http.server
import json
import socket
import threading
import urllib.request
from dataclasses import dataclass, field
from http.client import HTTPMessage

import numpy as np
import pytest

from atomlens.datasets import download as module
from atomlens.datasets.card import RemoteFile
from atomlens.datasets.download import Patience, cache_folder, download, kept_in, origin_of
from atomlens.datasets.transfer import Redirects
from atomlens.errors import InputError, Interrupted

CONTENT = np.random.default_rng(0).integers(0, 256, 700_000, dtype=np.uint8).tobytes()
OTHER = np.random.default_rng(1).integers(0, 256, 700_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HASTE = Patience(waits=(0.0, 0.0, 0.0), timeout=5.0)


@dataclass
class Behaviour:
    """How the server answers, and what it was asked."""

    content: bytes = CONTENT
    breaks: list[int] = field(default_factory=list)  # send so many bytes in the answers to come, and hang up
    statuses: list[int] = field(default_factory=list)  # answer so, one after the other, before anything is sent
    headers: dict = field(default_factory=dict)
    ranges: bool = True
    etag: str | None = '"one"'
    length: bool = True
    redirect: str | None = None
    asked: list[str | None] = field(default_factory=list)  # the ranges
    conditions: list[str | None] = field(default_factory=list)  # under which ranges were asked for
    after: object = None  # called when an answer is over


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        has = self.server.behaviour
        if has.redirect and self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", has.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        wanted = self.headers.get("Range")
        has.asked.append(wanted)
        has.conditions.append(self.headers.get("If-Range"))
        if has.statuses:
            self.send_response(has.statuses.pop(0))
            for name, value in has.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        condition = self.headers.get("If-Range")
        if wanted and has.ranges and condition in (None, has.etag, has.headers.get("Last-Modified")):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(has.content) > 0 and start:
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(has.content) - 1}/{len(has.content)}")
        if has.etag:
            self.send_header("ETag", has.etag)
        for name, value in has.headers.items():
            self.send_header(name, value)
        body = has.content[start:]
        if has.length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if has.breaks:
            body = body[: has.breaks.pop(0)]
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = True
        if has.after is not None:
            has.after(has)


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.behaviour = Behaviour()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def remote(server, path="data.bin", **published):
    published = published or {"sha256": SHA256, "size": len(CONTENT)}
    return RemoteFile("data.bin", f"http://127.0.0.1:{server.server_address[1]}/{path}", **published)


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_with_its_record_and_is_not_fetched_again(server, tmp_path):
    path = download(remote(server), tmp_path / "new" / "folder", patience=HASTE)
    assert path.read_bytes() == CONTENT
    assert left(path.parent) == ["data.bin", "data.bin.origin.json"]
    record = json.loads(origin_of(path).read_text())
    assert record["sha256"] == SHA256
    assert record["checksum"] == "as published"
    assert download(remote(server), path.parent, patience=HASTE) == path
    assert server.behaviour.asked == [None]


def test_a_break_is_taken_up_where_it_was(server, tmp_path, capsys):
    server.behaviour.breaks = [300_000, 100_000]
    path = download(remote(server), tmp_path, patience=HASTE)
    assert path.read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=300000-", "bytes=400000-"]
    assert "the connection broke after 300 kB of 700 kB" in capsys.readouterr().err


def test_what_an_earlier_call_left_is_gone_on_with(server, tmp_path):
    server.behaviour.breaks = [300_000] + [0] * 3
    with pytest.raises(InputError, match=r"4 times; 300 kB are kept: run the same command again later, or download"):
        download(remote(server), tmp_path, patience=HASTE)
    assert left(tmp_path) == ["data.bin.part", "data.bin.part.origin.json"]
    assert download(remote(server), tmp_path, patience=HASTE).read_bytes() == CONTENT
    assert server.behaviour.asked[-1] == "bytes=300000-"
    assert left(tmp_path) == ["data.bin", "data.bin.origin.json"]


def test_a_part_that_is_whole_is_not_asked_for(server, tmp_path):
    server.behaviour.breaks = [300_000] + [0] * 3
    with pytest.raises(InputError):
        download(remote(server), tmp_path, patience=HASTE)
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    assert download(remote(server), tmp_path, patience=HASTE).read_bytes() == CONTENT
    assert len(server.behaviour.asked) == 4


def test_a_part_of_unknown_origin_is_not_gone_on_with(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(OTHER[:300_000])
    assert download(remote(server), tmp_path, patience=HASTE).read_bytes() == CONTENT
    assert server.behaviour.asked == [None]


def test_a_server_without_ranges_is_asked_for_the_whole(server, tmp_path, capsys):
    server.behaviour.ranges = False
    server.behaviour.breaks = [300_000]
    assert download(remote(server), tmp_path, patience=HASTE).read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=300000-"]
    assert "the server sends the whole again" in capsys.readouterr().err


def _change(behaviour, etag):
    behaviour.content, behaviour.etag, behaviour.after = CONTENT, etag, None


def test_two_versions_are_not_mixed_where_the_server_names_them(server, tmp_path):
    server.behaviour.content, server.behaviour.breaks = OTHER, [300_000]
    server.behaviour.after = lambda has: _change(has, '"two"')
    assert download(remote(server), tmp_path, patience=HASTE).read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=300000-"]


def test_two_versions_of_a_server_that_does_not_name_them_give_themselves_away(server, tmp_path):
    server.behaviour.content, server.behaviour.breaks, server.behaviour.etag = OTHER, [300_000], None
    server.behaviour.after = lambda has: _change(has, None)
    assert download(remote(server), tmp_path, patience=HASTE).read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=300000-", None]


def test_without_versions_and_checksum_a_break_starts_anew(server, tmp_path):
    server.behaviour.content, server.behaviour.breaks, server.behaviour.etag = OTHER, [300_000], None
    server.behaviour.after = lambda has: _change(has, None)
    path = download(remote(server, size=len(CONTENT)), tmp_path, patience=HASTE)
    assert path.read_bytes() == CONTENT
    assert server.behaviour.asked == [None, None]


def test_a_file_that_became_shorter_starts_anew(server, tmp_path):
    server.behaviour.etag = None
    server.behaviour.content, server.behaviour.breaks = CONTENT + OTHER, [900_000]
    server.behaviour.after = lambda has: _change(has, None)
    path = download(remote(server, sha256=SHA256), tmp_path, patience=HASTE)
    assert path.read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=900000-", None]


def test_a_date_serves_where_there_is_no_version(server, tmp_path):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    server.behaviour.etag, server.behaviour.headers, server.behaviour.breaks = None, {"Last-Modified": date}, [300_000]
    file = RemoteFile("data.bin", remote(server).url)
    assert download(file, tmp_path, patience=HASTE).read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=300000-"]
    assert server.behaviour.conditions == [None, date]


def test_another_size_under_the_same_date_is_another_version(server, tmp_path):
    server.behaviour.etag, server.behaviour.headers = None, {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
    server.behaviour.content, server.behaviour.breaks = OTHER[:-5], [300_000]
    server.behaviour.after = lambda has: _change(has, None)
    assert download(RemoteFile("data.bin", remote(server).url), tmp_path, patience=HASTE).read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=300000-", None]


def test_a_weak_version_is_no_condition_of_a_range(server, tmp_path):
    """RFC 9110, 13.1.5: If-Range takes strong versions only; the checksum has to do then."""
    server.behaviour.etag, server.behaviour.breaks = 'W/"one"', [300_000]
    assert download(remote(server), tmp_path, patience=HASTE).read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=300000-"]
    assert server.behaviour.conditions == [None, None]


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_wrong_checksum_is_said_once_and_removed(server, tmp_path, kind):
    server.behaviour.content = OTHER
    wanted = getattr(hashlib, kind)(CONTENT).hexdigest()
    found = getattr(hashlib, kind)(OTHER).hexdigest()
    with pytest.raises(InputError, match=f"has the {kind} {found} where {wanted} is published; what arrived was rem"):
        download(remote(server, **{kind: wanted}), tmp_path, patience=HASTE)
    assert server.behaviour.asked == [None]
    assert left(tmp_path) == []


def test_another_size_is_refused_before_anything_is_fetched(server, tmp_path):
    with pytest.raises(InputError, match=r"has 700,000 bytes where 12 are published, so it was changed"):
        download(remote(server, size=12), tmp_path, patience=HASTE)


def test_no_published_checksum_is_said_and_written_down(server, tmp_path, capsys):
    file = RemoteFile("data.bin", remote(server).url)
    path = download(file, tmp_path, patience=HASTE)
    assert json.loads(origin_of(path).read_text())["sha256"] == SHA256
    assert f"no checksum is published; what arrived has sha256 {SHA256}" in capsys.readouterr().err
    assert download(file, tmp_path, patience=HASTE) == path
    assert server.behaviour.asked == [None]


def test_a_cached_file_that_was_damaged_is_fetched_again(server, tmp_path, capsys):
    path = download(remote(server), tmp_path, patience=HASTE)
    path.write_bytes(CONTENT[:-1])
    assert download(remote(server), tmp_path, patience=HASTE).read_bytes() == CONTENT
    assert "it is fetched again" in capsys.readouterr().err
    assert server.behaviour.asked == [None, None]


def test_a_length_that_is_not_told_is_no_hindrance(server, tmp_path):
    server.behaviour.length = False
    assert download(remote(server, sha256=SHA256), tmp_path, patience=HASTE).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "is refused by its server"), (404, "is not there"), (410, "is gone for good"), (418, "HTTP 418")],
)
def test_refusals_are_sentences_and_not_repeated(server, tmp_path, status, words):
    server.behaviour.statuses = [status]
    with pytest.raises(InputError, match=words) as caught:
        download(remote(server), tmp_path, patience=HASTE)
    assert "give the file with --from" in str(caught.value)
    assert len(server.behaviour.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, tmp_path, status):
    server.behaviour.statuses = [status, status]
    assert download(remote(server), tmp_path, patience=HASTE).read_bytes() == CONTENT
    assert len(server.behaviour.asked) == 3


def test_a_server_that_stays_busy_is_left(server, tmp_path):
    server.behaviour.statuses = [503] * 4
    with pytest.raises(InputError, match="the server answers 503, trouble of the server, 4 times"):
        download(remote(server), tmp_path, patience=HASTE)


def test_a_server_that_asks_for_a_long_wait_is_left_at_once(server, tmp_path):
    server.behaviour.statuses, server.behaviour.headers = [429], {"Retry-After": "3600"}
    with pytest.raises(InputError, match="asks to come again in 60 min"):
        download(remote(server), tmp_path, patience=HASTE)


def test_a_short_wait_that_is_asked_for_is_kept(server, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    server.behaviour.statuses, server.behaviour.headers = [503], {"Retry-After": "7"}
    download(remote(server), tmp_path, patience=Patience(waits=(0.5, 1.0)))
    assert waited == [7.0]


def test_waits_grow_and_begin_anew_when_much_has_come(server, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    monkeypatch.setattr(module, "_ENOUGH", 200_000)
    server.behaviour.breaks = [0, 0, 300_000, 0]
    assert download(remote(server), tmp_path, patience=Patience(waits=(1.0, 3.0, 10.0))).read_bytes() == CONTENT
    assert waited == [1.0, 3.0, 1.0, 3.0]


def test_a_web_page_in_place_of_the_file_is_refused(server, tmp_path):
    server.behaviour.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(InputError, match=r"is a web page, not data\.bin"):
        download(RemoteFile("data.bin", remote(server).url), tmp_path, patience=HASTE)


def test_an_answer_without_a_file_is_refused(server, tmp_path):
    server.behaviour.statuses = [202]
    with pytest.raises(InputError, match="HTTP 202 and no file; open it in a browser"):
        download(remote(server), tmp_path, patience=HASTE)


def test_redirections_are_followed_to_http_only(server, tmp_path):
    server.behaviour.redirect = remote(server).url
    server.behaviour.breaks = [300_000]
    assert download(remote(server, "moved"), tmp_path, patience=HASTE).read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=300000-"]
    server.behaviour.redirect = "ftp://127.0.0.1/data.bin"
    with pytest.raises(InputError, match="no safe address"):
        download(remote(server, "moved"), tmp_path / "ftp", patience=HASTE)


def test_redirections_from_https_to_http_are_refused():
    request = urllib.request.Request("https://example.org/data.bin")
    with pytest.raises(InputError, match=r"leads on to http://example\.org/other, which is no safe address"):
        Redirects().redirect_request(request, None, 302, "Found", HTTPMessage(), "http://example.org/other")
    followed = Redirects().redirect_request(request, None, 302, "Found", HTTPMessage(), "https://example.org/other")
    assert followed.full_url == "https://example.org/other"


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://example.org/data.bin", "data:,x"])
def test_other_addresses_are_not_opened(tmp_path, url):
    with pytest.raises(InputError, match="no address of http or https"):
        download(RemoteFile("data.bin", url), tmp_path)


def test_offline_is_one_clear_message_at_once(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/data.bin"
    with pytest.raises(InputError) as caught:
        download(RemoteFile("data.bin", url), tmp_path)  # with the usual patience: it must not wait
    assert str(caught.value) == (
        f"{url}: 127.0.0.1 cannot be reached (Connection refused); go online and run the same command again, "
        f"or download {url} by other means and give the file with --from"
    )


def test_a_silent_server_counts_as_broken(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        file = RemoteFile("data.bin", f"http://127.0.0.1:{silent.getsockname()[1]}/data.bin")
        with pytest.raises(InputError, match=r"the connection broke \(timed out\), 2 times"):
            download(file, tmp_path, patience=Patience(waits=(0.0,), timeout=0.1))


def test_a_full_disk_is_said_before(server, tmp_path, monkeypatch):
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("atomlens.datasets.transfer.shutil.disk_usage", lambda _: usage)
    with pytest.raises(InputError, match="needs 700 kB and 1 kB are free"):
        download(remote(server), tmp_path, patience=HASTE)


def test_an_interruption_keeps_what_came(server, tmp_path, monkeypatch):
    server.behaviour.breaks = [300_000]

    def stop(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module.time, "sleep", stop)
        with pytest.raises(Interrupted, match=r"300 kB of data\.bin are kept, and the same command goes on"):
            download(remote(server), tmp_path, patience=HASTE)
    assert download(remote(server), tmp_path, patience=HASTE).read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=300000-"]


def test_a_second_process_is_told_to_wait(server, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with open(tmp_path / ".data.bin.part.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="is being fetched by another process"):
            download(remote(server), tmp_path, patience=HASTE)


def test_a_lock_that_its_owner_has_just_removed_locks_nothing(server, tmp_path, monkeypatch):
    """Between opening and locking another process may end, and a third begin with a lock of its own."""
    fcntl = pytest.importorskip("fcntl")
    lock = tmp_path / ".data.bin.part.lock"

    def late(_file, _how):
        lock.unlink()
        lock.write_text("of the third")

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(InputError, match="is being fetched by another process"):
        download(remote(server), tmp_path, patience=HASTE)
    assert lock.read_text() == "of the third"


def test_a_folder_that_cannot_be_written_is_an_input_error(server, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        download(remote(server), tmp_path / "taken", patience=HASTE)


def test_the_bar_counts_what_is_there(server, tmp_path, monkeypatch):
    seen = []

    class Bar:
        def __init__(self, total, done):
            self.total, self.done = total, done

        def expect(self, total):
            self.total = total

        def advance(self, steps):
            self.done += steps
            seen.append(self.done)

    from contextlib import contextmanager

    @contextmanager
    def track(description, total, unit, done):
        assert (description, total, unit, done) == ("fetch", 700, "kB", 0)
        yield Bar(total, done)

    monkeypatch.setattr(module, "track", track)
    server.behaviour.breaks = [300_000]
    download(remote(server), tmp_path, "fetch", HASTE)
    assert seen[-1] == 700
    assert seen == sorted(seen)
    assert 300 in seen


def test_the_cache_is_where_the_user_wants_it(monkeypatch, tmp_path):
    monkeypatch.setenv("ATOMLENS_DATA", str(tmp_path))
    assert cache_folder() == tmp_path
    assert kept_in(RemoteFile("a", "https://example.org/b/a")) == tmp_path / "example.org"
    monkeypatch.delenv("ATOMLENS_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(module.sys, "platform", "linux")
    assert cache_folder() == tmp_path / "caches" / "atomlens"
