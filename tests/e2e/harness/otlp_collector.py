#!/usr/bin/env python3
"""An OpenTelemetry collector for tests: OTLP over HTTP, JSON.

    otlp_collector.py DIRECTORY [STATUS]…

Prints its address. Each request that has the form of the protocol is written to DIRECTORY/traces.json or
metrics.json, with its headers beside it; the first ones are answered with the given statuses instead.
Ends with SIGTERM.
"""
import http.server
import json
import os
import re
import sys

DIRECTORY, STATUSES = sys.argv[1], [int(status) for status in sys.argv[2:]]
KINDS = {"/v1/traces": ("traces", "resourceSpans", "scopeSpans", "spans"),
         "/v1/metrics": ("metrics", "resourceMetrics", "scopeMetrics", "metrics")}


def check(path, body):
    """Raises for what a collector's JSON decoder would not take."""
    _, resources, scopes, items = KINDS[path]
    for resource in body[resources]:
        assert resource["resource"]["attributes"][0]["key"] == "service.name"
        for scope in resource[scopes]:
            assert scope["scope"]["name"] == "varve" and scope[items]
            for item in scope[items]:
                check_span(item) if items == "spans" else check_metric(item)


def check_span(span):
    assert re.fullmatch("[0-9a-f]{32}", span["traceId"]) and re.fullmatch("[0-9a-f]{16}", span["spanId"])
    assert isinstance(span["startTimeUnixNano"], str) and int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"])
    check_attributes(span["attributes"])


def check_metric(metric):
    kind, = {"sum", "gauge", "histogram"} & set(metric)
    for point in metric[kind]["dataPoints"]:
        assert isinstance(point["timeUnixNano"], str)
        check_attributes(point["attributes"])
        if kind == "histogram":
            assert len(point["bucketCounts"]) == len(point["explicitBounds"]) + 1
            assert sum(map(int, point["bucketCounts"])) == int(point["count"])
        else:
            assert isinstance(point.get("asInt", ""), str) and ("asInt" in point) != ("asDouble" in point)


def check_attributes(attributes):
    for attribute in attributes:
        (kind, value), = attribute["value"].items()
        assert kind in ("stringValue", "intValue", "doubleValue", "boolValue", "arrayValue"), kind
        assert kind != "intValue" or isinstance(value, str)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"]))
        if STATUSES:
            return self.answer(STATUSES.pop(0), b"not now")
        try:
            assert self.headers["Content-Type"] == "application/json"
            body = json.loads(text)
            check(self.path, body)
        except Exception as error:  # whatever is wrong with it
            return self.answer(400, f"{type(error).__name__}: {error}".encode())
        name = os.path.join(DIRECTORY, KINDS[self.path][0])
        with open(name + ".headers", "w") as file:
            file.write(str(self.headers))
        with open(name + ".json", "w") as file:
            json.dump(body, file)
        self.answer(200, b"{}")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
