"""A web process with nothing but the standard library."""

import http.server
import json
import os
import signal
import threading

VERSION = "1"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/up":
            body = b"ok\n"
        else:
            values = {
                "version": VERSION,
                "greeting": os.environ.get("GREETING", "Hello"),
                "release": os.environ.get("PAAS_RELEASE", ""),
            }
            body = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


if __name__ == "__main__":
    server = Server(("", int(os.environ["PORT"])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"web: version {VERSION} listens on port {os.environ['PORT']}", flush=True)
    server.serve_forever()
    print("web: stopped on request", flush=True)
