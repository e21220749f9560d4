"""Servers that a test may start in its own process: a registry with faults, files and git over http."""

import base64
import http.client
import http.server
import json
import os
import re
import subprocess
import threading
import time
import urllib.parse


class _Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that goes away in the middle is what some tests are about


def _serve(handler):
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"127.0.0.1:{server.server_address[1]}"


def _body(request):
    if request.headers.get("Transfer-Encoding", "").lower() == "chunked":
        data = b""
        while size := int(request.rfile.readline().split(b";")[0], 16):
            data += request.rfile.read(size)
            request.rfile.readline()
        request.rfile.readline()
        return data
    length = int(request.headers.get("Content-Length") or 0)
    return request.rfile.read(length) if length else None


class Fault:
    """One rule: what to do to the first `times` requests whose `METHOD PATH` matches."""

    def __init__(self, words):
        self.kind = words[0]
        self.user, self.password, self.argument = "", "", 0
        self.times, self.pattern = 1 << 30, re.compile("")
        rest = words[1:]
        if self.kind in ("status", "cut", "slow"):
            self.argument, rest = int(rest[0]), rest[1:]
        elif self.kind in ("login", "token"):
            self.user, self.password, rest = rest[0], rest[1], rest[2:]
        elif self.kind not in ("corrupt", "log"):
            raise ValueError(f"unknown fault '{self.kind}'")
        if rest and rest[0].isdigit():
            self.times, rest = int(rest[0]), rest[1:]
        if rest:
            self.pattern = re.compile(" ".join(rest))


class FaultyRegistry:
    """A proxy before the fixture registry that applies faults and remembers the requests."""

    def __init__(self, upstream, faults):
        self.upstream, self.faults = upstream, faults
        self.requests = []
        self.lock = threading.Lock()
        proxy = self

        class Handler(_Quiet):
            def answer(self):
                proxy.handle(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        self.server, self.address = _serve(Handler)

    def take(self, line):
        """The faults that apply to this request, each counted down."""
        with self.lock:
            self.requests.append(line)
            taken = []
            for fault in self.faults:
                if fault.times > 0 and fault.pattern.search(line):
                    fault.times -= 1
                    taken.append(fault)
            return taken

    def authorized(self, fault, header):
        if fault.kind == "login":
            good = base64.b64encode(f"{fault.user}:{fault.password}".encode()).decode()
            return header == f"Basic {good}"
        return header == "Bearer granted-" + fault.user

    def refuse(self, request, fault):
        scheme = 'Basic realm="fixtures"'
        if fault.kind == "token":
            scheme = f'Bearer realm="http://{self.address}/token",service="fixtures"'
        body = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
        self.reply(request, 401, body, {"WWW-Authenticate": scheme})

    def reply(self, request, status, body, headers=None):
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)

    def hand_out_token(self, request):
        header = request.headers.get("Authorization", "")
        for fault in self.faults:
            if fault.kind == "token":
                good = base64.b64encode(f"{fault.user}:{fault.password}".encode()).decode()
                if header == f"Basic {good}":
                    body = json.dumps({"token": "granted-" + fault.user, "expires_in": 300})
                    self.reply(request, 200, body.encode())
                    return
        self.reply(request, 401, b"{}")

    def handle(self, request):
        body = _body(request)
        if request.path.startswith("/token"):
            self.take(f"{request.command} {request.path}")
            self.hand_out_token(request)
            return
        cut = corrupt = None
        for fault in self.take(f"{request.command} {request.path}"):
            if fault.kind == "status":
                self.reply(request, fault.argument, b'{"errors":[]}', {"Retry-After": "0"})
                return
            if fault.kind in ("login", "token"):
                if not self.authorized(fault, request.headers.get("Authorization", "")):
                    self.refuse(request, fault)
                    return
            elif fault.kind == "cut":
                cut = fault.argument
            elif fault.kind == "corrupt":
                corrupt = True
            elif fault.kind == "slow":
                time.sleep(fault.argument / 1000)
        self.forward(request, body, cut, corrupt)

    def forward(self, request, body, cut, corrupt):
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        headers = {}
        for name, value in request.headers.items():
            if name.lower() not in ("connection", "authorization", "transfer-encoding", "expect"):
                # Clients send several Accept lines; a map keeps one, so they are joined.
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
        connection.request(request.command, request.path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        if corrupt and data:
            data = bytes([data[0] ^ 0xff]) + data[1:]
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                request.send_header(name, value)
        if answer.getheader("Content-Length") is None:
            request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        if request.command != "HEAD":
            if cut is not None and len(data) > cut:
                request.wfile.write(data[:cut])
                request.wfile.flush()
                request.close_connection = True
                request.connection.shutdown(2)
            else:
                request.wfile.write(data)
        connection.close()


class FileServer:
    """Serves a folder; below it, paths with `.git/` go to git's own http service."""

    def __init__(self, folder):
        self.requests = []
        server = self

        class Handler(_Quiet):
            def do_GET(self):
                server.requests.append(f"{self.command} {self.path}")
                if server.authorized(self, folder):
                    server.answer(self, folder)

            do_HEAD = do_POST = do_GET

        self.server, self.address = _serve(Handler)

    def authorized(self, request, folder):
        """With a file .authorization in the folder, its lines are the headers that are let in."""
        try:
            with open(os.path.join(folder, ".authorization")) as file:
                good = file.read().splitlines()
        except FileNotFoundError:
            return True
        if request.headers.get("Authorization", "") in good:
            return True
        request.rfile.read(int(request.headers.get("Content-Length") or 0))
        request.send_response(401)
        request.send_header("WWW-Authenticate", 'Basic realm="fixtures"')
        request.send_header("Content-Length", "0")
        request.end_headers()
        return False

    def answer(self, request, folder):
        url = urllib.parse.urlsplit(request.path)
        path = urllib.parse.unquote(url.path)
        if ".git/" in path:
            self.git(request, folder, path, url.query)
            return
        full = os.path.join(folder, path.lstrip("/"))
        if not os.path.isfile(full):
            request.send_response(404)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        with open(full, "rb") as file:
            data = file.read()
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.send_header("Content-Type", "application/octet-stream")
        request.send_header("Last-Modified",
                            request.date_time_string(int(os.stat(full).st_mtime)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)

    def git(self, request, folder, path, query):
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length)
        environment = dict(os.environ, GIT_PROJECT_ROOT=folder, GIT_HTTP_EXPORT_ALL="1",
                           REQUEST_METHOD=request.command, PATH_INFO=path, QUERY_STRING=query,
                           CONTENT_TYPE=request.headers.get("Content-Type", ""),
                           CONTENT_LENGTH=str(length),
                           HTTP_CONTENT_ENCODING=request.headers.get("Content-Encoding", ""),
                           GIT_PROTOCOL=request.headers.get("Git-Protocol", ""),
                           GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.directory",
                           GIT_CONFIG_VALUE_0="*")
        output = subprocess.run(["git", "http-backend"], input=body, env=environment,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        head, _, content = output.partition(b"\r\n\r\n")
        status, headers = 200, []
        for line in head.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            if name == "Status":
                status = int(value.split()[0])
            elif name:
                headers.append((name, value))
        request.send_response(status)
        for name, value in headers:
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)
