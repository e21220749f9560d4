"""Words to products, with synonyms from a YAML file."""

import os

import yaml
from flask import Flask, jsonify, request

SYNONYMS = yaml.safe_load(os.environ.get("SYNONYMS", "{lamp: lantern, light: lantern}"))
app = Flask(__name__)


@app.get("/search")
def search():
    words = [SYNONYMS.get(word, word) for word in request.args.get("q", "").lower().split()]
    return jsonify({"words": words})
