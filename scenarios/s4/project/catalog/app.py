"""Products with their prices, cached in Redis."""

import json
import os

import redis
from flask import Flask, jsonify
from sqlalchemy import create_engine, text

engine = create_engine(os.environ.get("DATABASE_URL", "sqlite://"))
cache = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://redis:6379"))
app = Flask(__name__)


@app.get("/products")
def products():
    try:
        known = cache.get("products")
    except redis.ConnectionError:
        known = None
    if known:
        return jsonify(json.loads(known))
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(text("select 1 as id, 'lantern' as name, 1250 as cents")).mappings()]
    return jsonify(rows)
