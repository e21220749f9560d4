"""Servers that a scenario needs besides the registry: GitHub's cache service."""

import re
import subprocess
import time

from lib import builders


class CacheService:
    """`varve cache-server`, with the environment that GitHub gives to an action. It can be stopped and started again."""

    def __init__(self, place):
        self.place, self.folder = place, f"{place.work}/cache-service"
        self.process, self.url = None, None
        place.closing.callback(self.stop)
        self.start()

    def start(self):
        address = self.url.removeprefix("http://") if self.url else "127.0.0.1:0"
        path = f"{self.place.work}/cache-service.log"
        with open(path, "a") as log:
            offset = log.tell()
            self.process = subprocess.Popen([builders.Varve.binary, "cache-server", "--addr", address, "--dir", self.folder],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.place.environment)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            with open(path) as log:
                log.seek(offset)
                found = re.search(r"^listening on (\S+)", log.read(), re.M)
            if found:
                self.url = found.group(1)
                return
            time.sleep(0.05)
        raise builders.BuildFailed(f"varve cache-server does not start, see {path}")

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def environment(self, branch="refs/heads/main:rw"):
        _, token = builders.run([builders.Varve.binary, "cache-server", "--dir", self.folder, "--issue-token", branch],
                                self.place.environment)
        return {"ACTIONS_RESULTS_URL": self.url + "/", "ACTIONS_CACHE_SERVICE_V2": "1", "ACTIONS_RUNTIME_TOKEN": token.strip()}
