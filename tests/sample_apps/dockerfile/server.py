"""Serves public/ and lists the files that reached the image, to show what .dockerignore left out."""

import http.server
import os
import signal
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/files":
            names = sorted(os.path.join(folder, f) for folder, _, files in os.walk(".") for f in files)
            body = "\n".join(names).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            super().do_GET()

    def translate_path(self, path):
        return super().translate_path("/public" + path)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
