"""What Prometheus scrapes from a demo whose world is faster than ours: its times, divided."""

import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Durations of the simulated world; those of calls and passes are real.
SIMULATED = ("job_wait_duration", "step_duration", "drift_resolution_duration")
SERIES = re.compile(rf"^tinqs_ci_({'|'.join(SIMULATED)})_seconds_(bucket|sum)(\{{.*\}})? (.+)$")
BOUND = re.compile(r'le="([0-9.e+]+)"')
TIMESTAMP = re.compile(r"^(tinqs_ci_\w+_timestamp_seconds(?:\{.*\})?) ([0-9.e+]+)$")


class Quick:
    """An address that shows the metrics of a demo, as if its world were ours and its faults quick."""

    def __init__(self, demo, factor):
        self.demo = demo
        self.factor = factor
        self.scrapes = 0
        # The simulated clock runs evenly: one pair of times tells all others.
        before = time.time()
        self.simulated = demo.now()
        self.real = (before + time.time()) / 2

    def __enter__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                try:
                    body = outer.text().encode()
                except OSError as error:
                    self.send_error(502, str(error))
                    return
                outer.scrapes += 1
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def text(self):
        return "\n".join(map(self.line, self.demo.metrics().splitlines())) + "\n"

    def line(self, line):
        if found := TIMESTAMP.match(line):
            series, at = found[1], float(found[2])
            # 0 means none.
            shown = self.real + (at - self.simulated) / self.factor if at else 0
            return f"{series} {shown:.6f}"
        if found := SERIES.match(line):
            name, part, labels, value = found.groups()
            labels = labels or ""
            if part == "sum":
                value = float(value) / self.factor
            else:
                labels = BOUND.sub(lambda le: f'le="{float(le[1]) / self.factor:g}"', labels)
            return f"tinqs_ci_{name}_seconds_{part}{labels} {value}"
        return line
