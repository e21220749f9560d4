"""The API: /tides?start=HOURS&hours=N and /version."""

import pathlib

from flask import Flask, jsonify, request

from tidetable.tides import extremes

app = Flask(__name__)


@app.get("/tides")
def tides():
    start = float(request.args.get("start", 0))
    hours = min(float(request.args.get("hours", 24)), 240)
    return jsonify([{"hour": hour, "metres": metres} for hour, metres in extremes(start, hours)])


@app.get("/version")
def version():
    path = pathlib.Path("version.txt")
    return path.read_text() if path.exists() else "unknown\n"
