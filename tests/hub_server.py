"""A small Hugging Face Hub on loopback, of the standard library alone, for tests of pushing and loading.

    with HubServer(tmp_path, token="hf_test") as hub:
        ...  # a subprocess with the environment hub.environment(tmp_path / "home")

huggingface_hub reads the variables when it is imported, hence the subprocess. The server knows repositories of
models, datasets and spaces, commits, branches, LFS and regular uploads, ranges and tokens; a private
repository can only be seen with the token. `hub.log` lists the requests, and `hub.faults` makes some of them fail.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LFS_SUFFIXES = (".parquet", ".arrow", ".safetensors", ".bin", ".pt", ".onnx", ".jpg", ".png", ".zip", ".npy")
LFS_BYTES = 10_000_000  # larger files go through LFS, whatever their names
CLOSE = 0  # as a fault's status: the connection is closed without an answer


@dataclass
class Fault:
    """Requests that go wrong.

    Attributes:
        pattern: a regular expression of `METHOD /path`; those that it matches from the start count.
        status: the HTTP status they are answered with, or `CLOSE`; None: the right answer, if late.
        after: so many of them are let through first.
        times: so many of them fail; None: all that follow.
        delay: seconds before the answer.
        cut: the connection is closed after so many bytes of what is sent; None: all are read.
        cut_answer: the connection is closed after so many bytes of the right answer's body; None: all are sent.
        wait: the answer's Retry-After, in seconds; None: none.
    """

    pattern: str
    status: int | None = None
    after: int = 0
    times: int | None = None
    delay: float = 0
    cut: int | None = None
    cut_answer: int | None = None
    wait: int | None = None


class Store:
    """Repositories and their files under `root`: `blobs/SHA256` and `repos.json`.

    `repos["datasets/org/name"]` holds `private`, `refs` (branch -> commit) and `commits` (id -> parent, title, date
    and tree; a tree maps a path to size, oid, sha256 and whether it is an LFS file).
    """

    def __init__(self, root: Path) -> None:
        self.lock = threading.RLock()
        self.blobs, self.index = root / "blobs", root / "repos.json"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.repos: dict[str, dict[str, Any]] = json.loads(self.index.read_text()) if self.index.exists() else {}

    def save(self) -> None:
        self.index.write_text(json.dumps(self.repos))

    def put(self, data: bytes) -> str:
        """Keep `data`; returns its SHA-256."""
        digest = hashlib.sha256(data).hexdigest()
        temporary = self.blobs / uuid.uuid4().hex
        temporary.write_bytes(data)
        temporary.replace(self.blobs / digest)
        return digest

    def create(self, key: str, private: bool) -> None:
        self.repos[key] = {"private": private, "commits": {}, "refs": {}}
        self.commit(key, "main", {}, "initial commit")

    def commit(self, key: str, ref: str, tree: dict[str, Any], title: str) -> str:
        repo = self.repos[key]
        parent = repo["refs"].get(ref)
        sha = hashlib.sha1(json.dumps([key, ref, parent, tree, title, time.time()]).encode()).hexdigest()
        date = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        repo["commits"][sha] = {"parent": parent, "tree": tree, "title": title, "date": date}
        repo["refs"][ref] = sha
        self.save()
        return sha

    def resolve(self, key: str, revision: str) -> str | None:
        """The commit that `revision`, a commit or the name of a branch, stands for."""
        repo = self.repos[key]
        return revision if revision in repo["commits"] else repo["refs"].get(revision)

    def tree(self, key: str, sha: str) -> dict[str, Any]:
        return self.repos[key]["commits"][sha]["tree"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer
    cut_answer: int | None = None

    def log_message(self, *_: object) -> None:
        """Nothing: `HubServer.log` keeps the requests."""

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: self.cut_answer])
            if self.cut_answer is not None and self.cut_answer < len(body):
                self.close_connection = True

    def reply(self, content: Any, status: int = 200, **headers: str) -> None:
        body = json.dumps(content).encode()
        self.answer(status, {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}, body)

    def fail(self, status: int, code: str, message: str, **headers: str) -> None:
        self.reply({"error": message}, status, **{"X-Error-Code": code, "X-Error-Message": message}, **headers)

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def dispatch(self) -> None:
        url = urlsplit(self.path)
        request = f"{self.command} {self.path}"
        with self.server.store.lock:
            self.server.log.append(request)
            fault = self.server.fault(request) or Fault("")
        self.cut_answer = fault.cut_answer
        if fault.cut is not None:
            self.rfile.read(fault.cut)
            self.close_connection = True
            return
        self.query, self.raw = parse_qs(url.query), self.read_body()
        status = fault.status
        time.sleep(fault.delay)
        if status == CLOSE:
            self.close_connection = True
            return
        if status is not None:
            more = {} if fault.wait is None else {"Retry-After": str(fault.wait)}
            self.fail(status, "", f"made to fail with {status}", **more)
            return
        # the address of an LFS upload is its own permission, as on the real Hub
        if self.command not in ("GET", "HEAD") and "/_lfs/" not in url.path and not self.authorised():
            self.fail(401, "", "Invalid username or password.")
            return
        for method, pattern, route in ROUTES:
            match = pattern.fullmatch(url.path)
            if match and (self.command == method or (self.command == "HEAD" and method == "GET")):
                with self.server.store.lock:
                    route(self, *[group and unquote(group) for group in match.groups()])
                return
        self.fail(404, "", f"no route {request}")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = dispatch

    def authorised(self) -> bool:
        return not self.server.token or self.headers.get("Authorization") == f"Bearer {self.server.token}"

    def found(self, kind: str, name: str, revision: str = "main") -> tuple[str, str] | None:
        """The key of the repository and the commit of `revision`; None after an error has been sent."""
        key, store = f"{kind}/{name}", self.server.store
        if key not in store.repos or (store.repos[key]["private"] and not self.authorised()):
            self.fail(404, "RepoNotFound", "Repository not found")
            return None
        sha = store.resolve(key, revision)
        if sha is None:
            self.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return key, sha

    def address(self, kind: str, name: str) -> str:
        return f"{self.server.url}/{'' if kind == 'models' else kind + '/'}{name}"

    # the account and its repositories

    def whoami(self) -> None:
        if not self.authorised():
            self.fail(401, "", "Invalid credentials in Authorization header")
            return
        user = self.server.user
        access = {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}}
        self.reply({"type": "user", "id": "1", "name": user, "fullname": user, "orgs": [], "auth": access})

    def validate_card(self) -> None:
        self.reply({"errors": [], "warnings": []})

    def create_repo(self) -> None:
        asked = json.loads(self.raw)
        kind = (asked.get("type") or "model") + "s"
        name = f"{asked.get('organization') or self.server.user}/{asked['name']}"
        told = {"url": self.address(kind, name), "name": name}
        if f"{kind}/{name}" in self.server.store.repos:  # 409 with the url is what exist_ok=True expects
            self.reply({**told, "error": "You already created this repo"}, 409)
            return
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.server.store.create(f"{kind}/{name}", private)
        self.reply(told)

    # revisions

    def create_branch(self, kind: str, name: str, branch: str) -> None:
        if not (found := self.found(kind, name)):
            return
        key, _ = found
        refs = self.server.store.repos[key]["refs"]
        if branch in refs:
            self.fail(409, "", "Reference already exists")
            return
        start = json.loads(self.raw or b"{}").get("startingPoint") or "main"
        refs[branch] = self.server.store.resolve(key, start)
        self.server.store.save()
        self.reply({})

    def list_refs(self, kind: str, name: str) -> None:
        if found := self.found(kind, name):
            refs = self.server.store.repos[found[0]]["refs"].items()
            branches = [{"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": sha} for ref, sha in refs]
            self.reply({"branches": branches, "converts": [], "tags": []})

    def list_commits(self, kind: str, name: str, revision: str) -> None:
        if not (found := self.found(kind, name, revision)):
            return
        key, sha = found
        commits, listed = self.server.store.repos[key]["commits"], []
        while sha:
            told = {"id": sha, "title": commits[sha]["title"], "message": "", "date": commits[sha]["date"]}
            listed.append({**told, "authors": [{"user": self.server.user}]})
            sha = commits[sha]["parent"]
        self.reply(listed)

    def repo_info(self, kind: str, name: str, revision: str = "main") -> None:
        if not (found := self.found(kind, name, revision)):
            return
        key, sha = found
        repo = self.server.store.repos[key]
        date = repo["commits"][sha]["date"]
        who = {"_id": "1", "id": name, "modelId": name, "author": name.split("/")[0]}
        state = {"private": repo["private"], "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0}
        files = [{"rfilename": path} for path in sorted(repo["commits"][sha]["tree"])]
        self.reply({**who, **state, "sha": sha, "lastModified": date, "createdAt": date, "siblings": files})

    # files

    def list_tree(self, kind: str, name: str, revision: str, folder: str | None) -> None:
        if not (found := self.found(kind, name, revision)):
            return
        prefix = folder.strip("/") + "/" if folder else ""
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries, folders = [], set()
        for path, file in sorted(self.server.store.tree(*found).items()):
            if not path.startswith(prefix):
                continue
            parts = path[len(prefix) :].split("/")
            depth = len(parts) if recursive else min(len(parts), 2)
            folders |= {prefix + "/".join(parts[:i]) for i in range(1, depth)}
            if recursive or len(parts) == 1:
                entries.append(file_entry(path, file))
        if prefix and not entries and not folders:
            self.fail(404, "EntryNotFound", f"{folder} does not exist on {revision}")
            return
        self.reply([folder_entry(path) for path in sorted(folders)] + entries)

    def paths_info(self, kind: str, name: str, revision: str) -> None:
        if not (found := self.found(kind, name, revision)):
            return
        files, entries = self.server.store.tree(*found), []
        is_json = "json" in self.headers.get("Content-Type", "")
        asked = json.loads(self.raw)["paths"] if is_json else parse_qs(self.raw.decode()).get("paths", [])
        for path in (each.strip("/") for each in asked):
            if path in files:
                entries.append(file_entry(path, files[path]))
            elif any(file.startswith(path + "/") for file in files):
                entries.append(folder_entry(path))
        self.reply(entries)

    def get_file(self, kind: str | None, name: str, revision: str, path: str) -> None:
        if not (found := self.found(kind or "models", name, revision)):
            return
        file = self.server.store.tree(*found).get(path)
        if file is None:
            self.fail(404, "EntryNotFound", "Entry not found")
            return
        tag = file["sha256"] if file["lfs"] else file["oid"]
        headers = {"X-Repo-Commit": found[1], "ETag": f'"{tag}"', "Accept-Ranges": "bytes"}
        headers["Content-Type"] = "application/octet-stream"
        if file["lfs"]:
            headers |= {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": str(file["size"])}
        body, status = (self.server.store.blobs / file["sha256"]).read_bytes(), 200
        if body and (match := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))):
            first, last = match.groups()
            start = int(first) if first else max(0, len(body) - int(last))
            end = min(int(last), len(body) - 1) if first and last else len(body) - 1
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
            body = body[start : end + 1]
        self.answer(status, {**headers, "Content-Length": str(len(body))}, body)

    # uploading: ask how, put the LFS objects that are missing, commit

    def preupload(self, kind: str, name: str, revision: str) -> None:
        if not (found := self.found(kind, name, revision)):
            return
        tree, modes = self.server.store.tree(*found), []
        for file in json.loads(self.raw)["files"]:
            lfs = file["path"].endswith(LFS_SUFFIXES) or file["size"] > LFS_BYTES
            old = tree.get(file["path"])
            oid = old and (old["sha256"] if old["lfs"] else old["oid"])
            mode = "lfs" if lfs else "regular"
            modes.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.reply({"files": modes})

    def lfs_batch(self, kind: str | None, name: str) -> None:
        objects = []
        for each in json.loads(self.raw)["objects"]:
            entry = {"oid": each["oid"], "size": each["size"]}
            if not (self.server.store.blobs / each["oid"]).exists():  # without "actions" it is there already
                entry["actions"] = {"upload": {"href": f"{self.server.url}/_lfs/{each['oid']}", "header": {}}}
            objects.append(entry)
        self.reply({"transfer": "basic", "objects": objects}, **{"Content-Type": "application/vnd.git-lfs+json"})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.raw).hexdigest() != oid:
            self.fail(400, "", "sha256 mismatch")
            return
        self.server.store.put(self.raw)
        self.reply({})

    def commit(self, kind: str, name: str, revision: str) -> None:
        if not (found := self.found(kind, name, revision)):
            return
        key, head = found
        store = self.server.store
        tree, title = dict(store.tree(key, head)), ""
        for line in self.raw.splitlines():
            operation = json.loads(line)
            what, value = operation["key"], operation["value"]
            if what == "header":
                title = value["summary"]
                if value.get("parentCommit") not in (None, head):
                    self.fail(412, "", "A commit has happened since. Please refresh and try again.")
                    return
            elif what == "file":
                data = base64.b64decode(value["content"])
                file = {"size": len(data), "oid": git_oid(data), "sha256": store.put(data), "lfs": False}
                tree[value["path"]] = file
            elif what == "lfsFile":
                blob = store.blobs / value["oid"]
                if not blob.exists():
                    self.fail(400, "", f"LFS pointer pointed to a file that does not exist: {value['path']}")
                    return
                oid = git_oid(value["oid"].encode())
                tree[value["path"]] = {"size": blob.stat().st_size, "oid": oid, "sha256": value["oid"], "lfs": True}
            elif what == "deletedFile":
                tree.pop(value["path"], None)
            elif what == "deletedFolder":
                prefix = value["path"].rstrip("/") + "/"
                tree = {path: file for path, file in tree.items() if not path.startswith(prefix)}
        sha = store.commit(key, revision, tree, title)
        url = f"{self.address(kind, name)}/commit/{sha}"
        self.reply({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def file_entry(path: str, file: dict[str, Any]) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": file["size"], "oid": file["oid"]}
    lfs = {"oid": file["sha256"], "size": file["size"], "pointerSize": 134}
    return {**entry, "lfs": lfs} if file["lfs"] else entry


def folder_entry(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}


KIND = "(models|datasets|spaces)"
NAME = r"([\w.\-]+/[\w.\-]+|[\w.\-]+)"
GIT = f"/(?:(datasets|spaces)/)?{NAME}"
ROUTES: list[tuple[str, re.Pattern[str], Callable[..., None]]] = [
    (method, re.compile(pattern), route)
    for method, pattern, route in (
        ("GET", "/api/whoami-v2", Handler.whoami),
        ("POST", "/api/repos/create", Handler.create_repo),
        ("POST", "/api/validate-yaml", Handler.validate_card),
        ("POST", f"/api/{KIND}/{NAME}/branch/(.+)", Handler.create_branch),
        ("GET", f"/api/{KIND}/{NAME}/refs", Handler.list_refs),
        ("GET", f"/api/{KIND}/{NAME}/commits/([^/]+)", Handler.list_commits),
        ("GET", f"/api/{KIND}/{NAME}/tree/([^/]+)(?:/(.+))?", Handler.list_tree),
        ("POST", f"/api/{KIND}/{NAME}/paths-info/([^/]+)", Handler.paths_info),
        ("POST", f"/api/{KIND}/{NAME}/preupload/([^/]+)", Handler.preupload),
        ("POST", f"/api/{KIND}/{NAME}/commit/([^/]+)", Handler.commit),
        ("GET", f"/api/{KIND}/{NAME}/revision/([^/]+)", Handler.repo_info),
        ("GET", f"/api/{KIND}/{NAME}", Handler.repo_info),
        ("POST", rf"{GIT}\.git/info/lfs/objects/batch", Handler.lfs_batch),
        ("PUT", "/_lfs/([0-9a-f]{64})", Handler.lfs_put),
        ("GET", rf"{GIT}/(?:resolve|raw)/([^/]+)/(.+)", Handler.get_file),
    )
]


class HubServer(ThreadingHTTPServer):
    """The server, in a thread of its own while the `with` block lasts.

    Args:
        root: where it keeps what is pushed; a folder with an earlier server's files goes on with them.
        user: whose token it is.
        token: what a writer must show; None: nothing.

    Attributes:
        url: its address, for HF_ENDPOINT.
        log: every request so far, `METHOD /path?query`.
        faults: what goes wrong; may be changed at any time.
    """

    daemon_threads = True

    def __init__(self, root: Path, user: str = "me", token: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store, self.user, self.token = Store(Path(root)), user, token
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.log: list[str] = []
        self.faults: list[Fault] = []

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """Of a process that uses this Hub, and keeps what it downloads in `home`."""
        others = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        ours = {"HF_ENDPOINT": self.url, "HF_TOKEN": self.token or "", "HF_HOME": str(home)}
        return {**others, **ours, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **more}

    def fault(self, request: str) -> Fault | None:
        """What `request` must suffer, or None."""
        for fault in self.faults:
            if re.match(fault.pattern, request):
                if fault.after > 0:
                    fault.after -= 1
                elif fault.times is None:
                    return fault
                elif fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def hold(self, key: str, folder: Path) -> None:
        """Make the public repository `key`, such as `datasets/me/sample`, with the files of `folder`."""
        tree = {}
        for path in (path for path in sorted(folder.rglob("*")) if path.is_file()):
            name, data = path.relative_to(folder).as_posix(), path.read_bytes()
            sha256, lfs = self.store.put(data), name.endswith(LFS_SUFFIXES)
            oid = git_oid(sha256.encode() if lfs else data)
            tree[name] = {"size": len(data), "oid": oid, "sha256": sha256, "lfs": lfs}
        with self.store.lock:
            self.store.create(key, private=False)
            self.store.commit(key, "main", tree, "held")

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is gone before its answer is its own affair; what else happens is printed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
