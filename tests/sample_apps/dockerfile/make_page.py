"""Writes the page of the first stage: the version of the source and the build argument."""

import sys

VERSION = "1"

print(f"<!doctype html><title>Dockerfile</title><h1>Version {VERSION}</h1><p>Edition: {sys.argv[1]}</p>")
