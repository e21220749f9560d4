#!/usr/bin/env python3
"""Signature version 4 a second time, with Python's hmac and urllib: reads requests as JSON lines,
prints the signature of each. aws_signature_test.cc compares."""

import hashlib
import hmac
import json
import sys
import urllib.parse


def quote(text, safe=""):
    return urllib.parse.quote(text, safe=safe + "-_.~")


def sign(r):
    headers = {name.lower(): " ".join(value.split(" ")).strip() for name, value in r["headers"].items()}
    names = sorted(headers)
    query = "&".join("=".join(pair) for pair in sorted((quote(k), quote(v)) for k, v in r["query"]))
    request = "\n".join([r["method"], quote(r["path"], "/"), query,
                         "".join(f"{name}:{headers[name]}\n" for name in names),
                         ";".join(names), headers["x-amz-content-sha256"]])
    date = headers["x-amz-date"]
    scope = [date[:8], r["region"], "s3", "aws4_request"]
    text = "\n".join(["AWS4-HMAC-SHA256", date, "/".join(scope),
                      hashlib.sha256(request.encode()).hexdigest()])
    key = ("AWS4" + r["secret"]).encode()
    for part in scope:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


for line in sys.stdin:
    print(sign(json.loads(line)))
