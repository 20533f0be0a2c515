#!/usr/bin/env python3
"""Takes telemetryd's `json` batches into SQLite: receiver.py DATABASE TOKEN_FILE [PORT]. Behind a proxy that does TLS."""
import gzip, hmac, json, pathlib, sqlite3, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

db = sqlite3.connect(sys.argv[1])
db.executescript(pathlib.Path(__file__).with_name("events.sql").read_text())
wanted = "Bearer " + pathlib.Path(sys.argv[2]).read_text().strip()
COLUMNS = ("id", "tool", "tool_version", "event", "time", "anonymous_id", "project_id", "properties", "context", "age_ms")

class Receiver(BaseHTTPRequestHandler):
    timeout = 30  # seconds for a request to come, or nobody else is heard

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        if not hmac.compare_digest(self.headers.get("Authorization", ""), wanted):
            return self.answer(401)
        if length > 1 << 20:
            return self.answer(413)
        body = self.rfile.read(length)
        try:
            batch = json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            text = lambda value: json.dumps(value) if isinstance(value, dict) else value
            rows = [[text(event.get(column)) for column in COLUMNS] for event in batch["events"]]
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            return self.answer(400)
        with db:  # one transaction; what came before is known by its id
            db.executemany(f"INSERT OR IGNORE INTO events VALUES ({', '.join('?' * len(COLUMNS))})", rows)
        self.answer(204)  # after the commit: until then the daemon keeps the events

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

HTTPServer(("127.0.0.1", int(sys.argv[3]) if sys.argv[3:] else 8080), Receiver).serve_forever()
