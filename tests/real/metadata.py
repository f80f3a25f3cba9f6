"""Instance metadata on loopback: what a Spot machine is told before EC2 takes it back."""

import contextlib
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

# As the boot script names the service.
ADDRESS = b"http://169.254.169.254/"
ACTION = "latest/meta-data/spot/instance-action"


class Metadata:
    """Each machine has its own path. It answers IMDSv2 only, as machines are launched."""

    def __init__(self):
        # When each machine is taken, once that is announced.
        self.announced = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def seen_by(self, id, user_data):
        """Returns user data that asks here."""
        return user_data.replace(ADDRESS, f"{self.url}/{id}/".encode())

    def announce(self, id, at):
        self.announced[id] = at

    def answer(self, method, path, headers):
        """Returns the status and the body."""
        id, path = path.removeprefix("/").split("/", 1)
        token = f"token-of-{id}"
        if (method, path) == ("PUT", "latest/api/token"):
            return (200, token) if headers["X-aws-ec2-metadata-token-ttl-seconds"] else (400, "")
        if headers["X-aws-ec2-metadata-token"] != token:
            return 401, ""
        if path != ACTION or id not in self.announced:
            return 404, ""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.announced[id]))
        return 200, json.dumps({"action": "terminate", "time": at})

    def handler(self):
        metadata = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                status, body = metadata.answer(self.command, self.path, self.headers)
                # A machine that ended does not take the answer.
                with contextlib.suppress(ConnectionError):
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body.encode())

            do_GET = do_PUT = answer

            def log_message(self, *_):
                pass

        return Handler
