"""Eyes behind the gateway: what the scripted providers saw, and what the ledger says."""

import json
import os
import sqlite3
import time
import urllib.request

# No wait of a case comes near it; a case that would hang fails instead.
PATIENCE = 20.0


class Behind:
    """What the scripted provider saw."""

    def look(self, path):
        with urllib.request.urlopen(os.environ["FARTHING_BEHIND"] + path, timeout=PATIENCE) as answer:
            return json.load(answer)

    def requests(self, model):
        """The requests for `model` so far, oldest first."""
        return self.look(f"/requests/{model}")

    def last(self, model):
        """The newest request for `model`."""
        return self.requests(model)[-1]

    def arrived(self, model):
        """Waits until a request for `model` has arrived."""
        return self.look(f"/arrived/{model}")

    def hung_up(self, model):
        """Waits until the provider has seen somebody hang up on `model`."""
        return [seen for seen in self.look(f"/hung-up/{model}") if seen["hung_up"]]

    def release(self):
        """Lets stalled answers go on."""
        self.look("/release")


class Ledger:
    """The ledger's views, as any outsider reads them."""

    def __init__(self, path):
        self.views = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self.views.row_factory = sqlite3.Row

    def rows(self, sql, *values):
        return [dict(row) for row in self.views.execute(sql, values)]

    def until(self, sql, *values, count=1):
        """The rows once there are `count`: SQLite tells other processes nothing, so this looks again and again."""
        deadline = time.monotonic() + PATIENCE
        while len(rows := self.rows(sql, *values)) < count:
            assert time.monotonic() < deadline, f"{len(rows)} of {count} rows: {sql} {values}"
            time.sleep(0.005)
        return rows

    def request(self, request_id):
        """The closed row of a request."""
        sql = "select * from requests_v1 where request_id = ? and status <> 'open'"
        return self.until(sql, request_id)[0]

    def attempts(self, request_id):
        """The attempts of a closed request, in order."""
        self.request(request_id)
        return self.rows("select * from attempts_v1 where request_id = ? order by attempt_id", request_id)

    def of_user(self, user, count=1):
        """The closed requests of a user: cases that get no request id make one up."""
        return self.until("select * from requests_v1 where user = ? and status <> 'open'", user, count=count)

    def closed(self, model, count=1):
        """The closed requests that asked for `model`."""
        sql = "select * from requests_v1 where model = ? and status <> 'open' order by request_id"
        return self.until(sql, model, count=count)
