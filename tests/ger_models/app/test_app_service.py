"""The app's API: answers equal the pipeline's, the documented examples run, and hostile requests harm nobody."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the extra `app` is not installed")

import httpx
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from ger_models.app.uploads import MAX_PHOTO_BYTES
from ger_models.inference.answers import answers, find_photos, load_pipeline

pytestmark = pytest.mark.slow

DOCS = (Path(__file__).resolve().parents[3] / "docs" / "app.md").read_text(encoding="utf-8")
META = {"_type": "gradio.FileData"}
MAX_MEMORY = 2 * 2**30  # bytes


@pytest.fixture(scope="module")
def client(app: Any) -> Client:
    return Client(app.url, verbose=False)


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", DOCS, re.S)[1]


def memory(pid: int) -> int:
    """The most memory that a process has had, bytes."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def test_answers_equal_the_pipelines(client: Client, party: Path) -> None:
    pipe = load_pipeline("starter", "cpu")
    (own,) = answers(pipe, find_photos([str(party)]), 1)
    got = client.predict(photo=handle_file(str(party)), api_name="/photo")
    assert got.keys() == {*own.as_json, "model"}
    assert got["label"] == own.result["label"]
    assert got["scores"] == pytest.approx(own.result["scores"], abs=1e-6)
    assert got["face_count"] == own.result["face_count"] > 0
    for face, expected in zip(got["faces"], own.result["faces"], strict=True):
        assert face["box"] == pytest.approx(expected["box"], abs=1e-3)
        assert face["expressions"] == pytest.approx(expected["expressions"], abs=1e-6)


def test_the_score_from_which_a_face_counts(client: Client, party: Path) -> None:
    faces = client.predict(photo=handle_file(str(party)), api_name="/photo")["faces"]
    middle = (faces[0]["score"] + faces[1]["score"]) / 2
    got = client.predict(photo=handle_file(str(party)), min_face_score=middle, api_name="/photo")
    assert (got["face_count"], len(got["faces"])) == (1, len(faces))
    assert [face.get("attention") for face in got["faces"]] == [pytest.approx(1.0)] + [None] * (len(faces) - 1)
    assert client.predict(photo=handle_file(str(party)), api_name="/photo")["face_count"] == len(faces)


def test_pictures_and_folders(client: Client, party: Path, tmp_path: Path) -> None:
    plain, blurred = (
        Image.open(client.predict(photo=handle_file(str(party)), blur_faces=blur, api_name="/picture"))
        for blur in (False, True)
    )
    assert plain.size == blurred.size
    assert plain.tobytes() != blurred.tobytes()
    with zipfile.ZipFile(tmp_path / "team.zip", "w") as archive:
        archive.write(party, "team/=1+1.jpg")
        archive.writestr("broken.jpg", party.read_bytes()[:900])
        archive.writestr("readme.txt", "x")
    files = [handle_file(str(party)), handle_file(str(tmp_path / "team.zip"))]
    got = client.predict(files=files, api_name="/folder")
    assert [answer["photo"] for answer in got["answers"]] == ["party.jpg", "team/=1+1.jpg", "broken.jpg"]
    assert "damaged" in got["answers"][2]["error"]
    rows = list(csv.DictReader(Path(got["csv"]).read_text("utf-8").splitlines()))
    assert [row["label"] for row in rows] == ["Positive", "Positive", ""]
    assert rows[0]["score"] == f"{got['answers'][0]['score']:.6f}" == rows[1]["score"]
    with zipfile.ZipFile(got["pictures"]) as pictures:
        assert pictures.namelist() == ["party.jpg", "team_=1+1.jpg"]
        assert Image.open(io.BytesIO(pictures.read("party.jpg"))).size == plain.size


def test_types_are_published(app: Any) -> None:
    info = httpx.get(f"{app.url}/gradio_api/info").json()["named_endpoints"]
    assert info.keys() == {"/photo", "/picture", "/folder", "/video", "/models"}
    answer = info["/photo"]["returns"][0]["type"]["properties"]
    assert answer["scores"] == {"type": "object", "additionalProperties": {"type": "number"}}
    assert answer["faces"]["items"]["properties"]["box"] == {"type": "array", "items": {"type": "number"}}


@pytest.mark.parametrize("language", ["python", "bash"])
def test_the_documented_examples_run(language: str, app: Any, party: Path, meeting: Path, tmp_path: Path) -> None:
    if language == "bash" and not shutil.which("curl"):
        pytest.skip("curl is not installed")
    shutil.copy(party, tmp_path / "party.jpg")
    shutil.copy(meeting, tmp_path / "meeting.mp4")
    with zipfile.ZipFile(tmp_path / "team.zip", "w") as archive:
        archive.write(party, "a.jpg")
    code = block(language).replace("http://127.0.0.1:7860", app.url)
    command = [sys.executable, "-c", code] if language == "python" else ["bash", "-euc", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "Positive" in done.stdout
    assert "event: error" not in done.stdout


def call(url: str, endpoint: str, data: Any) -> str:
    """The events of a call of the API, as curl shows them; or the status."""
    begun = httpx.post(f"{url}/gradio_api/call/{endpoint}", json={"data": data}, timeout=60)
    if begun.status_code != 200:
        return f"status {begun.status_code}"
    return httpx.get(f"{url}/gradio_api/call/{endpoint}/{begun.json()['event_id']}", timeout=60).text


def upload(url: str, name: str, content: bytes) -> str:
    (path,) = httpx.post(f"{url}/gradio_api/upload", files={"files": (name, content)}, timeout=60).json()
    return path


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for i in range(22):
            archive.writestr(f"{i}.jpg", bytes(100_000_000))
    return buffer.getvalue()


def archive(name: str, mode: int = 0) -> bytes:
    """A zip with a photo and an entry of that name; `mode` as in a Unix file system."""
    buffer, entry = io.BytesIO(), zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, mode << 16
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("good.png", _png())
        file.writestr(entry, "/etc/passwd")
    return buffer.getvalue()


def large_image() -> bytes:
    """A PNG that says it has 20,000 x 20,000 pixels."""
    content = bytearray(_png())
    content[16:24] = (20_000).to_bytes(4, "big") * 2
    return bytes(content)


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "PNG")
    return buffer.getvalue()


REFUSED_PATHS = [
    "file=/etc/passwd", "file=../../../../etc/passwd", "file=%2e%2e/%2e%2e/%2e%2e/etc/passwd", "file=//etc/passwd",
    "file=/proc/self/environ", "file=/etc/passwd%00.jpg", "file=scripts/app.py", "file=http://127.0.0.1:1/x",
    "file=file:///etc/passwd", "proxy=http://127.0.0.1:1/x", "deep_link", "dev/reload", "vibe-code/",
    "stream/a/b/1/playlist.m3u8", "custom_component/a/b/c/..%2f..%2f..%2fetc%2fpasswd", "run-history/records",
]  # fmt: skip


@pytest.mark.parametrize("path", REFUSED_PATHS)
def test_hostile_paths(path: str, app: Any) -> None:
    with socket.create_connection(app.url.removeprefix("http://").split(":"), timeout=20) as connection:
        # as it is: clients would tidy the path up
        connection.sendall(f"GET /gradio_api/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.match(rb"HTTP/1.1 (4\d\d)", answer), answer[:200]
    assert b"root:" not in answer
    assert b"PATH=" not in answer


HOSTILE_CALLS: dict[str, tuple[str, list[Any]]] = {
    "a file of the machine": ("photo", [{"path": "/etc/passwd", "meta": META}, None, None]),
    "the same without its type": ("photo", [{"path": "/etc/passwd"}, None, None]),
    "an address": ("photo", [{"path": "http://127.0.0.1:1/a.jpg", "meta": META}, None, None]),
    "another scheme": ("photo", [{"path": "file:///etc/passwd", "meta": META}, None, None]),
    "no file": ("photo", [None, None, None]),
    "a list": ("photo", [[1, 2], None, None]),
    "too few values": ("photo", []),
    "too many values": ("photo", [None] * 100),
    "an unknown model": ("photo", [{"path": "PHOTO", "meta": META}, "../../x", None]),
    "a model that is a list": ("photo", [{"path": "PHOTO", "meta": META}, ["starter"], None]),
    "a score that is text": ("photo", [{"path": "PHOTO", "meta": META}, None, "1; drop table"]),
    "a score out of range": ("photo", [{"path": "PHOTO", "meta": META}, None, -5]),
    "a switch that is a number": ("picture", [{"path": "PHOTO", "meta": META}, None, None, 7]),
    "a folder of nothing": ("folder", [[], None, None, False]),
    "a folder of one": ("folder", ["x", None, None, False]),
    "too many files": ("folder", [[{"path": "PHOTO", "meta": META}] * 201, None, None, False]),
    "an endpoint that does not exist": ("exit", [None, 0.5, False]),
}


@pytest.mark.parametrize("case", HOSTILE_CALLS)
def test_hostile_calls(case: str, app: Any, party: Path) -> None:
    endpoint, data = HOSTILE_CALLS[case]
    photo = upload(app.url, "party.jpg", party.read_bytes())
    told = call(app.url, endpoint, json.loads(json.dumps(data).replace("PHOTO", photo)))
    assert "event: error" in told or re.fullmatch("status [45]..", told), told
    assert "root:" not in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("bomb.zip", bomb, "unpacks to more"),
        ("nested.zip", lambda: archive("inner.zip"), "another archive"),
        ("escape.zip", lambda: archive("../../../escaped.png"), "leads out"),
        ("link.zip", lambda: archive("link.png", stat.S_IFLNK | 0o777), "a link"),
        ("large.png", large_image, "large.png"),
        ("page.html", lambda: b"<script>alert(1)</script>", "not an image"),
        ("vector.svg", lambda: b"<svg onload='alert(1)' xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        ("empty.jpg", lambda: b"", "empty"),
        ("../../../escaped.jpg", lambda: b"x", "escaped.jpg"),
        ("a\x1b[31m\u202eb.jpg", lambda: b"x", "not an image"),
    ],
)
def test_hostile_files(name: str, content: Callable[[], bytes], words: str, app: Any) -> None:
    path = upload(app.url, name, content())
    assert Path(path).resolve().is_relative_to(app.temporary)
    file = {"path": path, "meta": META}
    told = call(app.url, "folder", [[file], None, None, False])
    if "event: complete" in told:
        told = re.search(r"data: (.*)", told)[1]
        assert json.loads(told)[0]["answers"][0].keys() == {"photo", "model", "error"}
    assert words in told
    assert "\x1b" not in told


def test_hostile_bodies(app: Any) -> None:
    join = f"{app.url}/gradio_api/queue/join"
    json_type = {"Content-Type": "application/json"}
    assert httpx.post(join, content=b'{"data": ["' + b"a" * 100_000_000 + b'"]}', headers=json_type).status_code == 413
    chunks = (b"[" * 100_000 for _ in range(100))
    assert httpx.post(join, content=chunks, headers=json_type).status_code == 413
    assert httpx.post(join, content=b"[" * 500_000, headers=json_type).status_code == 400
    assert httpx.post(join, content=b"{broken", headers=json_type).status_code == 400
    assert httpx.post(join, content=b"\xff\xfe\x00", headers=json_type).status_code in (400, 422)
    uploads = f"{app.url}/gradio_api/upload"
    assert httpx.post(uploads, content=(b"x" for _ in range(3))).status_code == 411
    with socket.create_connection(app.url.removeprefix("http://").split(":"), timeout=20) as connection:
        connection.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000000\r\n\r\n"
        )
        assert b" 413 " in connection.recv(4096)
    assert httpx.post(uploads, content=b"x", headers={"Content-Type": "multipart/form-data"}).status_code in (400, 422)


def test_uploads_are_limited_by_their_kind_while_they_arrive(app: Any) -> None:
    """A file that is too large is refused before it has arrived, and what has arrived of it is deleted."""
    uploads = f"{app.url}/gradio_api/upload"
    large = b"x" * (MAX_PHOTO_BYTES + 1)
    before = stored(app.temporary)
    for name in ("large.jpg", "large.mp4.jpg", "large"):
        refused = httpx.post(uploads, files=[("files", ("a.jpg", b"x")), ("files", (name, large))], timeout=60)
        assert (refused.status_code, "maximum allowed size of 25 MB" in refused.text) == (413, True), name
    assert stored(app.temporary) == before
    assert httpx.post(uploads, files={"files": ("large.mp4", large)}, timeout=60).status_code == 200
    assert httpx.post(uploads, files={"files": ("large.zip", large)}, timeout=60).status_code == 200


def stored(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_slow_uploads_do_not_hold_others_up(app: Any, client: Client, party: Path) -> None:
    waiting = []
    for _ in range(20):
        connection = socket.create_connection(app.url.removeprefix("http://").split(":"), timeout=20)
        connection.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
        waiting.append(connection)
    assert client.predict(photo=handle_file(str(party)), api_name="/photo")["label"] == "Positive"
    for connection in waiting:
        connection.close()


def test_a_folder_and_photos_take_turns(app: Any, party: Path) -> None:
    """A photo that is asked for while 40 photos of a folder are answered does not wait for all of them."""
    first, second = Client(app.url, verbose=False), Client(app.url, verbose=False)
    ended: list[str] = []
    files = [handle_file(str(party))] * 40

    def folder() -> None:
        first.predict(files=files, api_name="/folder")
        ended.append("folder")

    thread = threading.Thread(target=folder)
    thread.start()
    second.predict(photo=handle_file(str(party)), api_name="/photo")
    ended.append("photo")
    thread.join()
    assert ended == ["photo", "folder"]


def test_afterwards_nothing_is_outside_and_only_counts_were_logged(app: Any, client: Client, party: Path) -> None:
    """The last test of this file: what all the others left."""
    assert app.process.poll() is None
    assert client.predict(photo=handle_file(str(party)), api_name="/photo")["label"] == "Positive"
    assert memory(app.process.pid) < MAX_MEMORY
    assert list(app.folder.iterdir()) == []
    (uploads,) = [path for path in app.temporary.iterdir() if any(path.iterdir())]
    assert uploads.name.startswith("group_emotion_")
    assert app.odd_lines() == []


def test_everything_is_deleted_at_exit_and_a_password_is_asked_for(
    start_app: Callable, starter: Path, party: Path, tmp_path: Path
) -> None:
    options = ["--port", "0", "--device", "cpu", "--auth", "me"]
    with start_app(tmp_path / "app", *options, GROUP_EMOTION_PASSWORD="correct horse", GRADIO_SHARE="True") as running:
        assert httpx.get(f"{running.url}/gradio_api/info").status_code == 401
        assert httpx.post(f"{running.url}/gradio_api/upload", files={"files": b"x"}).status_code == 401
        wrong = {"username": "me", "password": "wrong"}
        assert httpx.post(f"{running.url}/login", data=wrong, timeout=20).status_code == 400
        client = Client(running.url, auth=("me", "correct horse"), verbose=False)
        assert client.predict(photo=handle_file(str(party)), api_name="/photo")["label"] == "Positive"
        with pytest.raises(AppError, match=r"not an image"):
            client.predict(photo=handle_file(str(running.log)), api_name="/photo")
        assert any(running.temporary.rglob("party.jpg"))
    assert [path for path in running.temporary.iterdir() if path.name.startswith("group_emotion")] == []
