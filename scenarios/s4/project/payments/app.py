"""Asks the payment provider, with an idempotency key."""

import hashlib
import os

import requests
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

PROVIDER = os.environ.get("PROVIDER_URL", "http://provider:9000")
app = FastAPI(title="payments")


class Payment(BaseModel):
    order: str
    cents: int


@app.post("/payments")
def pay(payment: Payment):
    key = hashlib.sha256(f"{payment.order}:{payment.cents}".encode()).hexdigest()
    answer = requests.post(f"{PROVIDER}/charges", json=payment.dict(), headers={"Idempotency-Key": key}, timeout=10)
    if answer.status_code != 200:
        raise HTTPException(502, "the provider refused")
    return {"paid": True}
