"""Orders: checked by their model, put into a stream."""

import os

import redis
from fastapi import FastAPI
from pydantic import BaseModel, conint

cache = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://redis:6379"))
app = FastAPI(title="orders")


class Order(BaseModel):
    account: int
    product: int
    count: conint(gt=0, le=100) = 1


@app.post("/orders")
def order(wanted: Order):
    return {"id": cache.xadd("orders", wanted.dict()).decode()}
