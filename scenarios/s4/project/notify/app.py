"""Sends a message for each order in the stream."""

import os

import redis
import requests
import yaml

TEMPLATE = yaml.safe_load("subject: Your order {id}\nbody: Thank you for order {id}.")


def message(order):
    return {field: text.format(id=order) for field, text in TEMPLATE.items()}


def main():
    stream = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://redis:6379"))
    last = "$"
    while True:
        for _, orders in stream.xread({"orders": last}, block=5000) or []:
            for last, _ in orders:
                requests.post(os.environ["MAIL_URL"], json=message(last.decode()), timeout=10)


if __name__ == "__main__":
    main()
