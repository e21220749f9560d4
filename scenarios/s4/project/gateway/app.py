"""The way in: looks up which service answers, and passes the answer on."""

import requests
from fastapi import FastAPI, HTTPException

SERVICES = {"accounts": "http://accounts:8000", "catalog": "http://catalog:8000", "orders": "http://orders:8000"}
app = FastAPI(title="gateway")


@app.get("/{service}/{path:path}")
def forward(service: str, path: str):
    if service not in SERVICES:
        raise HTTPException(404, f"no service {service}")
    answer = requests.get(f"{SERVICES[service]}/{path}", timeout=5)
    return answer.json()
