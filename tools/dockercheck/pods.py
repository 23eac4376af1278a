"""`skein up --runtime docker`: pods whose containers are an engine's, and whose network is ours."""
import json
import os
import signal
import subprocess

from .lab import IMAGE, check, shell, until
from .own import Own

PODS = """
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {{name: app, image: {image}, imagePullPolicy: IfNotPresent, args: [serve, web, "80"], env: [{{name: COLOR, value: blue}}], resources: {{limits: {{memory: 64Mi}}}},
      readinessProbe: {{exec: {{command: [/peer, ask, 127.0.0.1, "80"]}}, periodSeconds: 1}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, name: tcp}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{name: app, image: {image}, imagePullPolicy: Never, args: [serve, client, "80"]}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: fails, annotations: {{sidecar.istio.io/inject: "false"}}}}
spec:
  containers: [{{name: app, image: {image}, imagePullPolicy: Never, args: [ask, 127.0.0.1, "1"]}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: noimage, annotations: {{sidecar.istio.io/inject: "false"}}}}
spec:
  containers:
  - {{name: never, image: nope, imagePullPolicy: Never}}
  - {{name: missing, image: "127.0.0.1:1/nope:1"}}
"""
SERVICE = "web.default.svc.cluster.local"


class Engine:
    """An engine and the pods on it."""

    def __init__(self, lab, name, socket):
        self.lab, self.name, self.socket = lab, name, socket
        self.skein = Own(lab)
        self.skein.data = f"{lab.folder}/pods-{name}"

    def docker(self, *words):
        done = subprocess.run(["/usr/bin/docker", "-H", f"unix://{self.socket}", *words], capture_output=True, text=True, timeout=60)
        return (done.stdout + done.stderr).strip()

    def up(self):
        self.skein.up("--runtime", "docker", "--engine", self.socket)

    def get(self, kind, name):
        text = self.skein("get", kind, name, "-o", "json", status=None)
        return json.loads(text) if text.startswith("{") else {}

    def status(self, name, container="app"):
        """A container's ready flag, restarts, and why it waits."""
        for item in self.get("pod", name).get("status", {}).get("containerStatuses", []):
            if item["name"] == container:
                return item["ready"], item["restartCount"], item["state"].get("waiting", {}).get("reason", "")
        return False, 0, ""

    def ask(self):
        return self.skein("exec", "client", "--", "/peer", "ask", SERVICE, "80", status=None)

    def containers(self):
        return sorted(self.docker("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}").splitlines())


def pods(lab):
    """The Docker engine that the lab has."""
    runs(Engine(lab, "docker", "/run/docker.sock"))


def podman(lab):
    """podman's service, which speaks the same API."""
    socket = "/run/podman-check.sock"
    log = open(f"{lab.folder}/podman.log", "a")
    words = ["podman", "--root", f"{lab.folder}/podman", "--runroot", "/run/podman-check", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
    service = subprocess.Popen([*words, "system", "service", "--time", "0", f"unix://{socket}"], stdout=log, stderr=log)
    try:
        until(lambda: os.path.exists(socket))
        archive = f"{lab.folder}/image.tar"
        lab.docker("save", "-o", archive, IMAGE)
        loaded = shell([*words, "load", "-i", archive])
        check("pods on podman: the image is loaded", "Loaded image" in loaded, loaded)
        runs(Engine(lab, "podman", socket))
    finally:
        service.terminate()
        service.wait(20)


def runs(engine):
    name, skein = f"pods on {engine.name}", engine.skein
    before = engine.containers()
    engine.up()
    try:
        file = f"{engine.lab.folder}/pods.yaml"
        with open(file, "w") as out:
            out.write(PODS.format(image=IMAGE))
        skein("apply", "-f", file)
        lives(engine, name, skein)
        own(engine, name, skein)
        ends(engine, name, skein)
    finally:
        skein.down()
    left, rules = sorted(set(engine.containers()) - set(before)), [line for line in shell("iptables -S DOCKER-USER").splitlines() if "skein" in line]
    check(f"{name}: nothing is left after skein down", not left and not rules, (left, rules))


def lives(engine, name, skein):
    check(f"{name}: a pod with a probe by exec becomes ready", until(lambda: engine.status("web")[0] and engine.status("client")[0], 60), (engine.status("web"), engine.status("client")))
    check(f"{name}: its traffic goes through sidecars that were injected", until(lambda: engine.ask() == "web 127.0.0.6", 30), engine.ask())
    texts = [skein("exec", "client", "--", "/peer", "ask", "nobody.invalid", "80", status=None), skein.status]
    check(f"{name}: exec ends with the command's status", texts == ["no name", 2], texts)
    check(f"{name}: logs are the container's", until(lambda: skein("logs", "web") == "serving", 15), skein("logs", "web"))
    check(f"{name}: a container that fails is started again", until(lambda: engine.status("fails")[1] > 0, 60), engine.status("fails"))
    reasons = until(lambda: (lambda found: found if found[0].startswith("ErrImageNever") and found[1] in ("ErrImagePull", "ImagePullBackOff") else None)(
        [engine.status("noimage", c)[2] for c in ("never", "missing")]), 30)
    check(f"{name}: an image that is not there says why, by its pull policy", reasons, [engine.status("noimage", c) for c in ("never", "missing")])
    shown = json.loads(engine.docker("inspect", next(line.split()[1] for line in engine.containers() if "-app-0" in line and "serve web" in engine.docker("inspect", "-f", "{{.Args}}", line.split()[1]))))[0]
    check(f"{name}: limits and variables are the engine's", shown["HostConfig"]["Memory"] == 64 << 20 and "COLOR=blue" in shown["Config"]["Env"], shown["HostConfig"]["Memory"])


def own(engine, name, skein):
    skein("network", "create", "web")
    for box in ("box", "other"):
        skein("run", "-d", "--name", box, "--network", "web", IMAGE, "serve", box, "80")
    address = skein.address("other", "web")
    answer = skein("exec", "box", "--", "/peer", "ask", address, "80", status=None)
    check(f"{name}: skein run on a network of skein network create", answer.startswith("other "), answer)
    skein("rm", "-f", "box", "other")
    skein("network", "rm", "web")


def ends(engine, name, skein):
    running = [line for line in engine.containers() if "-app-" in line and engine.docker("inspect", "-f", "{{.State.Running}}", line.split()[1]) == "true"]
    supervisor = int(shell("pgrep -of 'skein up'").split()[0])
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{supervisor}"))
    engine.up()
    check(f"{name}: after kill -9 the agent takes its containers over", set(running) <= set(engine.containers()) and until(lambda: engine.ask() == "web 127.0.0.6"), engine.containers())
    web = next(line.split()[1] for line in running if "serve web" in engine.docker("inspect", "-f", "{{.Args}}", line.split()[1]))
    engine.docker("kill", web)
    check(f"{name}: a container that the engine has killed is started again", until(lambda: engine.status("web")[:2] == (True, 1), 60), engine.status("web"))
    sandbox = web.rsplit("-app-", 1)[0] + "-sandbox"
    engine.docker("rm", "-f", sandbox)
    engine.docker("kill", web[:-1] + "1")
    check(f"{name}: a pod whose sandbox has gone gets another", until(lambda: engine.status("web")[0] and engine.status("web")[1] > 1 and engine.ask() == "web 127.0.0.6", 120),
          (engine.status("web"), engine.ask(), engine.containers()))
