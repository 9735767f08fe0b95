"""A small web server that can misbehave, and speaks enough of the hub's protocol."""

import contextlib
import hashlib
import http.server
import json
import re
import threading

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Server(http.server.ThreadingHTTPServer):
    """Serves files from memory.

    Attributes:
      files: path ("/x.pt") to bytes.
      repos: "owner/name" to {path in it: bytes}, spoken of as the hub does.
      requests: (method, path, Range header or None) of every request.
      cut_after: bytes after which an answer is broken off, one for each of the next
        answers to GET; then answers are whole.
      ranges: whether ranges are served.
      etags: whether answers carry an ETag.
      failures: status codes of the next answers.
      get_failures: status codes of the next answers to GET; None for none.
      failure_headers: headers of answers to GET that fail.
      redirects: path to the path that is answered for it.
      lies: path to the number of bytes that Content-Length says too much.
      tamper: whether the hub's files are other than it says.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.repos, self.requests = {}, {}, []
        self.cut_after, self.failures, self.get_failures = [], [], []
        self.redirects, self.lies, self.failure_headers = {}, {}, {}
        self.ranges, self.etags, self.tamper = True, True, False

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def ranges_asked(self):
        return [span for method, _, span in self.requests if method == "GET"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        server, path = self.server, self.path.partition("?")[0]
        span = self.headers.get("Range")
        server.requests.append((self.command, path, span))
        if server.failures:
            return self.send(server.failures.pop(0), b"", with_body)
        if with_body and server.get_failures and (code := server.get_failures.pop(0)):
            return self.send(code, b"", with_body, server.failure_headers)
        if path in server.redirects:
            headers = {"Location": server.url + server.redirects[path]}
            return self.send(302, b"", with_body, headers)
        if path.startswith("/api/models/"):
            return self.answer_api(path.removeprefix("/api/models/"), with_body)
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            return self.answer_hub(*match.groups(), with_body)
        if path not in server.files:
            return self.send(404, b"", with_body)
        body = server.files[path]
        etag = hashlib.md5(body).hexdigest()
        headers = {"ETag": f'"{etag}"'} if server.etags else {}
        return self.send_file(body, headers, with_body)

    def answer_api(self, path, with_body):
        match = re.fullmatch(r"([^/]+/[^/]+)(/tree|/revision)?(/.*)?", path)
        if not match or match[1] not in self.server.repos:
            headers = {"X-Error-Code": "RepoNotFound"}
            return self.send(404, b"{}", with_body, headers)
        files = self.server.repos[match[1]]
        siblings = [{"rfilename": name} for name in files]
        content = {"id": match[1], "sha": COMMIT, "siblings": siblings}
        if match[2] == "/tree":
            content = [
                {"type": "file", "path": name, "size": len(body), "oid": "0" * 40}
                for name, body in files.items()
            ]
        return self.send(200, json.dumps(content).encode(), with_body)

    def answer_hub(self, repo, name, with_body):
        files = self.server.repos.get(repo, {})
        if name not in files:
            headers = {"X-Error-Code": "EntryNotFound"}
            return self.send(404, b"", with_body, headers)
        body = files[name]
        sha256 = hashlib.sha256(body).hexdigest()
        headers = {
            "X-Repo-Commit": COMMIT,
            "ETag": f'"{sha256}"',
            "X-Linked-ETag": f'"{sha256}"',
            "X-Linked-Size": str(len(body)),
        }
        if self.server.tamper:
            body = bytes([body[0] ^ 1]) + body[1:]
        return self.send_file(body, headers, with_body)

    def send_file(self, body, headers, with_body):
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not (span and self.server.ranges):
            return self.send(200, body, with_body, headers)
        start = int(span[1])
        if start >= len(body):
            headers = {"Content-Range": f"bytes */{len(body)}"}
            return self.send(416, b"", with_body, headers)
        end = int(span[2] or len(body) - 1)
        headers = headers | {"Content-Range": f"bytes {start}-{end}/{len(body)}"}
        return self.send(206, body[start : end + 1], with_body, headers)

    def send(self, status, body, with_body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        if self.server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        lie = self.server.lies.get(self.path, 0) if status < 300 else 0
        self.send_header("Content-Length", str(len(body) + lie))
        self.end_headers()
        if not with_body:
            return
        if self.server.cut_after and status < 400:
            body = body[: self.server.cut_after.pop(0)]
            self.close_connection = True
        self.close_connection |= lie > 0
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body[: len(body) + min(lie, 0)])


@contextlib.contextmanager
def serving():
    """Runs a `Server` while the context lasts."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
