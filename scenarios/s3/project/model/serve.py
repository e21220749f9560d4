"""Classifies the layers of a core by their thickness."""

import statistics

import bigtensor
from fastapi import FastAPI
from pydantic import BaseModel, confloat, conlist

app = FastAPI(title="sediment model")


class Core(BaseModel):
    core: str
    millimetres: conlist(confloat(gt=0), min_items=1, max_items=1000)


@app.get("/healthz")
def health():
    return {"kernels": len(bigtensor.kernels())}


@app.post("/classify")
def classify(wanted: Core):
    middle = statistics.median(wanted.millimetres)
    return {"core": wanted.core, "flood": [index for index, value in enumerate(wanted.millimetres) if value > 2.5 * middle]}
