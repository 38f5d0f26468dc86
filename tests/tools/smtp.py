"""A mail server on loopback for tests: prints its port, then each mail that it was given as a line of JSON, as Python's email reads it.

Who it is for decides what it answers: an address that begins with `unknown` is refused for good, one with `later` is put off once.
With `--account` nobody is let in: as where the operator's password is wrong.
"""

import asyncio
import email
import email.policy
import json
import sys

from aiosmtpd.smtp import SMTP


class Handler:
    def __init__(self, closed):
        self.closed = closed
        self.seen = {}

    async def handle_MAIL(self, server, session, envelope, address, options):
        if self.closed:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        self.seen[address] = self.seen.get(address, 0) + 1
        if address.startswith("unknown"):
            return "550 5.1.1 No such user here"
        if address.startswith("later") and self.seen[address] == 1:
            return "451 4.7.1 Greylisted, try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        raw = envelope.content
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        told = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tries": {address: self.seen[address] for address in envelope.rcpt_tos},
            "names": mail.keys(),
            "defects": [str(defect) for defect in mail.defects],
            "addressed": [[one.display_name, one.addr_spec] for one in mail["to"].addresses],
            "sender": [[one.display_name, one.addr_spec] for one in mail["from"].addresses],
            "subject": mail["subject"],
            "message_id": mail["message-id"],
            "text": mail.get_content(),
            "is_ascii": raw.isascii(),
            "longest_line": max(len(line) for line in raw.split(b"\r\n")),
        }
        print(json.dumps(told), flush=True)
        return "250 2.0.0 Taken as <queue-7>"


async def main():
    handler = Handler("--account" in sys.argv)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, hostname="mail.test", loop=loop), host="127.0.0.1", port=0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # It ends with the test that started it: then its input ends.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
