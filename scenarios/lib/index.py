"""A package server on loopback, for the steps of the scenarios: it counts what it is asked for.

    /simple/NAME/, /wheels/FILE     a static PEP 503 index
    /maven2/…                       Maven's layout
    GET http://HOST/…               a caching proxy, for apt (`--build-arg http_proxy=…`)

Packages are fetched from Debian's mirror once, and are on the disk from then on: builders are compared with the same
fast source. With `megabytes_a_second` a large wheel takes as long as it would on such a line; loopback has no such limit.
"""

import contextlib
import hashlib
import http.client
import http.server
import os
import re
import threading
import time
import urllib.parse

LARGE = 32 << 20
FOREVER = "max-age=31536000, immutable"


class Index:
    """Serves while the `with` block runs."""

    def __init__(self, cache, wheel_folders, megabytes_a_second=0):
        self.cache, self.wheel_folders, self.rate = cache, wheel_folders, megabytes_a_second
        self.requests = []
        self._lock = threading.Lock()
        self._fetching = {}
        self._fresh = {}

    def __enter__(self):
        index = self

        class Handler(_Handler):
            server_index = index

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def downloads(self, pattern):
        """The packages asked for whose path matches, each as often as it was."""
        with self._lock:
            return [path for path in self.requests if re.search(pattern, path)]

    def forget(self):
        with self._lock:
            self.requests = []

    def count(self, path):
        with self._lock:
            self.requests.append(path)

    def wheels(self):
        return {name: f"{folder}/{name}" for folder in self.wheel_folders for name in os.listdir(folder)
                if name.endswith(".whl")}

    def proxied(self, url):
        """A file that has what is at `url`, and the status. Pool files and by-hash files never change."""
        path = f"{self.cache}/http/{hashlib.sha256(url.encode()).hexdigest()}"
        with self._lock:
            lock = self._fetching.setdefault(path, threading.Lock())
        with lock:
            lasting = "/pool/" in url or "/by-hash/" in url
            if os.path.exists(path) and (lasting or path in self._fresh):
                return path, 200
            status = _fetch(url, path)
            if status == 200:
                self._fresh[path] = True
            elif status == 0 and os.path.exists(path):
                return path, 200  # the mirror is out of reach: what it gave before
            return path, status


def _fetch(url, path):
    parts = urllib.parse.urlsplit(url)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with contextlib.closing(http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=60)) as connection:
            connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""))
            answer = connection.getresponse()
            if answer.status != 200:
                return answer.status
            with open(f"{path}.{os.getpid()}", "wb") as file:
                while block := answer.read(1 << 18):
                    file.write(block)
        os.replace(f"{path}.{os.getpid()}", path)
        return 200
    except OSError:
        return 0


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_index = None

    def do_GET(self):
        index = self.server_index
        parts = urllib.parse.urlsplit(self.path)
        if parts.netloc and self.path != index.url and not self.path.startswith(index.url + "/"):
            index.count(self.path)
            path, status = index.proxied(self.path)
            self._file(path) if status == 200 else self._text(status or 502, "")
            return
        index.count(parts.path)
        words = parts.path.strip("/").split("/")
        if words[0] == "simple" and len(words) == 2:
            name = re.sub(r"[-_.]+", "-", words[1]).lower()
            links = "".join(f'<a href="/wheels/{wheel}">{wheel}</a>\n' for wheel in sorted(index.wheels())
                            if wheel.split("-")[0].replace("_", "-") == name)
            self._text(200 if links else 404, f"<!DOCTYPE html><html><body>\n{links}</body></html>\n")
        elif words[0] == "wheels" and len(words) == 2 and words[1] in index.wheels():
            self._file(index.wheels()[words[1]])
        elif words[0] == "maven2" and ".." not in words:
            self._file(f"{index.cache}/{'/'.join(words)}")
        else:
            self._text(404, "")

    def _text(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, path):
        if not os.path.isfile(path):
            self._text(404, "")
            return
        with open(path, "rb") as file:
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Cache-Control", FOREVER)
            self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.end_headers()
            rate = self.server_index.rate if os.fstat(file.fileno()).st_size > LARGE else 0
            while block := file.read(1 << 18):
                self.wfile.write(block)
                if rate:
                    time.sleep(len(block) / (rate * 1e6))

    def log_message(self, *_):
        pass
