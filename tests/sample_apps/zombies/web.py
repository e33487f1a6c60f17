"""Leaves orphans behind that end at once, and reports how many defunct processes there are in the container."""

import http.server
import json
import os
import signal
import subprocess
import sys
import time


def make_orphans(count):
    """A child that starts grandchildren and ends before they do: whoever is process 1 inherits them."""
    subprocess.run(["sh", "-c", f"for i in $(seq {count}); do sleep 0.2 & done"], check=True)


def defunct():
    count = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                count += stat.read().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            pass
    return count


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/make":
            make_orphans(20)
            time.sleep(0.6)
        body = json.dumps({"defunct": defunct()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
