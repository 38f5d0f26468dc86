"""Passes requests on to a server of AWS, and refuses those that its file names: a line holds words that one must have all.

`refusing.py PORT URL FILE`
"""

import http.server
import json
import sys
import urllib.error
import urllib.request

port, url, file = sys.argv[1:]


class Relay(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        asked = f"{self.headers['x-amz-target']} {body.decode()}"
        with open(file) as lines:
            refused = any(all(word in asked for word in line.split()) for line in lines if line.strip())
        if refused:
            status, said = 400, json.dumps({"__type": "AccessDeniedException", "message": "not today"}).encode()
        else:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
            try:
                with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
                    status, said = answer.status, answer.read()
            except urllib.error.HTTPError as error:
                status, said = error.code, error.read()
        self.send_response(status)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Relay)
print("it listens", flush=True)
server.serve_forever()
