"""A docker-registry of a test's own: over TLS, behind a password or behind tokens, where things can be deleted
and collected.

    own_registry.py DIR serve [--tls] [--password USER:WORD] [--token USER:WORD]
    own_registry.py DIR collect

`serve` makes DIR/ca.pem, writes HOST:PORT to DIR/address, prints "serving HOST:PORT", and ends with its registry when it is told to (SIGTERM).
`collect` is docker-registry's garbage collection, for a registry that does not run."""

import argparse
import base64
import crypt
import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "..", "fixtures"))
os.environ.setdefault("VARVE_FIXTURES", "/nonexistent")
import registry  # noqa: E402  (fixtures/registry.py)

SERVICE, ISSUER = "own-registry", "own-issuer"


def _make_certificate(folder):
    """One for everything: the server's, and what signs the tokens."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/ca.pem"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _token(folder, scopes):
    """What docker-registry's token auth takes: a JWT, RS256, with the certificate in x5c."""
    with open(f"{folder}/ca.pem", encoding="ascii") as file:
        der = "".join(line for line in file.read().splitlines() if "-" not in line[:1])
    now = int(time.time())
    access = []
    for scope in scopes:
        kind, name, actions = scope.split(":", 2)
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    header = {"typ": "JWT", "alg": "RS256", "x5c": [der]}
    claims = {"iss": ISSUER, "sub": "", "aud": SERVICE, "exp": now + 300, "nbf": now - 60, "iat": now,
              "jti": str(time.monotonic_ns()), "access": access}
    text = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
    signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", f"{folder}/key.pem"], input=text.encode(),
                            check=True, capture_output=True).stdout
    return text + "." + _base64url(signed)


def _serve_tokens(folder, login):
    expected = "Basic " + base64.b64encode(login.encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.answer(self.headers.get("Authorization") == expected,
                        urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query))

        def do_POST(self):
            """OAuth2's form, which docker's clients try first."""
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            form = urllib.parse.parse_qs(body)
            given = ":".join(form.get(name, [""])[0] for name in ("username", "password"))
            self.answer(form.get("grant_type") == ["password"] and given == login, form)

        def answer(self, allowed, query):
            scopes = [scope for line in query.get("scope", []) for scope in line.split(" ")]
            body = json.dumps({name: _token(folder, scopes) for name in ("token", "access_token")} if allowed else {"details": "who are you?"}).encode()
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/ca.pem", f"{folder}/key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"https://127.0.0.1:{server.server_address[1]}/token"


def _configuration(folder, options):
    text = registry.CONFIG
    if options.tls:
        text += f"  tls:\n    certificate: {folder}/ca.pem\n    key: {folder}/key.pem\n"
    if options.password:
        user, word = options.password.split(":", 1)
        with open(f"{folder}/htpasswd", "w", encoding="ascii") as file:
            file.write(f"{user}:{crypt.crypt(word, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))}\n")
        text += f"auth:\n  htpasswd:\n    realm: own\n    path: {folder}/htpasswd\n"
    if options.token:
        realm = _serve_tokens(folder, options.token)
        text += (f"auth:\n  token:\n    realm: {realm}\n    service: {SERVICE}\n    issuer: {ISSUER}\n"
                 f"    rootcertbundle: {folder}/ca.pem\n")
    return text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("action", choices=["serve", "collect"])
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--password")
    parser.add_argument("--token")
    options = parser.parse_args()
    folder = os.path.abspath(options.folder)
    os.makedirs(folder, exist_ok=True)
    storage, log = f"{folder}/storage", f"{folder}/registry.log"
    if options.action == "collect":
        os.execvp("docker-registry", ["docker-registry", "garbage-collect", log + ".yml"])
    _make_certificate(folder)
    registry.CONFIG = _configuration(folder, options)
    process, address = registry.launch(storage, log)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with open(f"{folder}/address", "w", encoding="ascii") as file:
            file.write(address)
        print("serving", address, flush=True)
        process.wait()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
