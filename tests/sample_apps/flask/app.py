"""One page that shows where its parts come from: the source, the config vars, the platform."""

import os

from flask import Flask, jsonify, request

VERSION = "1"

app = Flask(__name__)


@app.get("/")
def index():
    return jsonify(
        version=VERSION,
        greeting=os.environ.get("GREETING", "Hello"),
        release=os.environ.get("PAAS_RELEASE", ""),
        host=request.host,
    )


@app.get("/up")
def up():
    return "ok\n"
