"""What runs pods besides Deployments, and what becomes of them: StatefulSets, Jobs, DaemonSets, autoscaling, rollbacks, deletion of namespaces."""
import concurrent.futures
import json
import pathlib
import subprocess
import threading
import time

from check.lib import BOOKSTORE, DATA, KUBECONFIG, check, enter, get, good, kubectl, run, ready, same_as, skein, up, wait, write_kubeconfig

MOST_REPLICAS = 4

DATABASE = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: http, port: 8000}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 3
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db, version: one}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: db
          image: python:3.11-slim
          command: [python3, -m, http.server, "8000"]
          ports: [{name: http, containerPort: 8000}]
          readinessProbe: {tcpSocket: {port: 8000}, periodSeconds: 1}
"""

JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  completions: 2
  backoffLimit: 1
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: python:3.11-slim, command: [python3, -c, "import http.client as h; c=h.HTTPConnection('catalog'); c.request('GET','/books/1'); print('answer', c.getresponse().status)"]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: never}
spec:
  backoffLimit: 0
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: python:3.11-slim, command: [python3, -c, "raise SystemExit(3)"]}]}}
"""

CLAIMS = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: keep}
spec:
  serviceName: keep
  replicas: 2
  selector: {matchLabels: {app: keep}}
  template:
    metadata: {labels: {app: keep}, annotations: {sidecar.istio.io/inject: "false"}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: c
          image: python:3.11-slim
          command: [python3, -c, "import os,time; print(os.uname().nodename, file=open('/data/starts', 'a')); time.sleep(1e6)"]
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""

DAEMON = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: watcher}
spec:
  selector: {matchLabels: {app: watcher}}
  template:
    metadata: {labels: {app: watcher}, annotations: {sidecar.istio.io/inject: "false"}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: python:3.11-slim, command: [python3, -c, "import time; time.sleep(1e6)"]}]
"""

AUTOSCALER = f"""
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: web}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}
  minReplicas: 1
  maxReplicas: {MOST_REPLICAS}
  metrics:
    - type: Pods
      pods: {{metric: {{name: requests_per_second}}, target: {{type: AverageValue, averageValue: "4"}}}}
  behavior: {{scaleDown: {{stabilizationWindowSeconds: 10}}}}
"""


def apply_text(text, *more):
    return kubectl("apply", *more, "-f", "-", input=text)


def field(kind, name, path, *more):
    return kubectl("get", kind, name, *more, "-o", f"jsonpath={path}")


def start():
    up("-f", BOOKSTORE)
    write_kubeconfig()
    check("the bookstore is ready", wait(lambda: ready(None, 9), 60))


def stateful_set():
    seen = []
    done = threading.Event()

    def watch():
        while not done.is_set():
            names = sorted(kubectl("get", "pods", "-l", "app=db", "-o", "jsonpath={.items[*].metadata.name}").split())
            if not seen or seen[-1] != names:
                seen.append(names)
            time.sleep(0.1)
    watcher = threading.Thread(target=watch)
    watcher.start()
    apply_text(DATABASE)
    kubectl("rollout", "status", "statefulset/db", "--timeout=90s")
    done.set()
    watcher.join()
    orders = [[f"db-{i}" for i in range(count)] for count in range(4)]
    check("pods of a StatefulSet come in order, with names that tell their number", [s for s in seen if s] == orders[1:], seen)
    script = "import http.client,sys\nc=http.client.HTTPConnection(sys.argv[1],8000,timeout=5);c.request('GET','/');print(c.getresponse().status)"
    pod = kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
    answers = [enter(pod, "web", "python3", "-c", script, f"db-{i}.db").strip() for i in range(3)]
    check("each pod of it answers under its own name db-N.db", answers == ["200"] * 3, answers)
    kubectl("patch", "statefulset", "db", "-p", '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}},"template":{"metadata":{"labels":{"version":"two"}}}}}')
    wait(lambda: field("pod", "db-2", "{.metadata.labels.version}", "--ignore-not-found") == "two" and ready("app=db", 3), 60)
    versions = kubectl("get", "pods", "-l", "app=db", "-o", "jsonpath={.items[*].metadata.labels.version}")
    check("an update stops at the partition", versions == "one one two", versions)
    kubectl("rollout", "undo", "statefulset/db")
    check("kubectl rollout undo brings a StatefulSet's template back",
          wait(lambda: kubectl("get", "pods", "-l", "app=db", "-o", "jsonpath={.items[*].metadata.labels.version}") == "one one one", 60))
    table = kubectl("get", "statefulset", "db")
    check("kubectl get statefulset shows what it should", table.split()[:3] == ["NAME", "READY", "AGE"] and "3/3" in table or wait(lambda: "3/3" in kubectl("get", "sts", "db"), 30), table)
    kubectl("delete", "statefulset", "db", "--timeout=60s")
    check("with it its pods go", wait(lambda: not kubectl("get", "pods", "-l", "app=db", "-o", "name"), 60))


def storage():
    table = kubectl("get", "storageclass").splitlines()
    check("there is a default storage class", table[1].split()[:5] == ["skein-local", "(default)", "skein.dev/local", "Delete", "WaitForFirstConsumer"], table)
    apply_text(CLAIMS)
    kubectl("rollout", "status", "statefulset/keep", "--timeout=60s")
    rows = [line.split() for line in kubectl("get", "pvc").splitlines()]
    check("kubectl get pvc shows a bound claim for each pod of a StatefulSet",
          rows[0][:4] == ["NAME", "STATUS", "VOLUME", "CAPACITY"] and [[r[0], r[1], *r[3:6]] for r in rows[1:]]
          == [[f"data-keep-{i}", "Bound", "1Gi", "RWO", "skein-local"] for i in (0, 1)], rows)
    rows = [line.split() for line in kubectl("get", "pv").splitlines()]
    check("kubectl get pv shows their volumes",
          sorted([*r[1:6], r[6]] for r in rows[1:]) == [["1Gi", "RWO", "Delete", "Bound", f"default/data-keep-{i}", "skein-local"] for i in (0, 1)], rows)
    kubectl("delete", "pod", "keep-1", "--timeout=30s")


    def starts(pod):
        done = subprocess.run(["kubectl", "--kubeconfig", KUBECONFIG, "exec", pod, "-c", "c", "--", "cat", "/data/starts"],
                              capture_output=True, text=True, timeout=30)
        return done.stdout.split() if done.returncode == 0 else done.stderr

    check("what a pod wrote is there for the next of its name, and for no other", wait(lambda: ready("app=keep", 2) and starts("keep-1") == ["keep-1"] * 2, 40)
          and starts("keep-0") == ["keep-0"], [starts("keep-0"), starts("keep-1")])
    kubectl("delete", "statefulset", "keep")
    wait(lambda: not kubectl("get", "pods", "-l", "app=keep", "-o", "name"), 40)
    claims = kubectl("get", "pvc", "-o", "name").split()
    check("claims stay when their StatefulSet is deleted", len(claims) == 2, claims)
    directories = list(pathlib.Path(DATA, "node", "claims").iterdir())
    kubectl("delete", "pvc", "--all", "--timeout=30s")
    check("with the claims go the volumes and their directories",
          wait(lambda: not kubectl("get", "pv", "-o", "name") and not any(path.exists() for path in directories), 30) and len(directories) == 2, directories)


def jobs():
    apply_text(JOB)
    done = run("kubectl", "--kubeconfig", KUBECONFIG, "wait", "--for=condition=complete", "job/once", "--timeout=90s", status=None)
    logs = kubectl("logs", "job/once", "-c", "c", status=None)
    check("a Job whose pods have sidecars completes", "condition met" in done, kubectl("get", "job", "once").strip().replace("\n", " | "))
    check("its pod asked the mesh before it ended", "answer 200" in logs, logs.strip())
    failed = run("kubectl", "--kubeconfig", KUBECONFIG, "wait", "--for=condition=failed", "job/never", "--timeout=60s", status=None)
    reason = field("job", "never", "{.status.conditions[?(@.type=='Failed')].reason}")
    check("a Job that fails too often has failed", "condition met" in failed and reason == "BackoffLimitExceeded", reason)
    kubectl("delete", "job", "once", "never")
    check("with a Job its pods go", wait(lambda: not kubectl("get", "pods", "-l", "job-name", "-o", "name"), 30))


def daemon_set():
    apply_text(DAEMON)
    check("a DaemonSet has one pod on this node", wait(lambda: field("ds", "watcher", "{.status.numberReady}") == "1", 40),
          kubectl("get", "ds", "watcher").strip().replace("\n", " | "))
    kubectl("delete", "ds", "watcher")


class Crowd:
    """Requests at a rate, each in its own thread's turn."""

    def __init__(self, rate):
        self.rate, self.stop, self.failures, self.count = rate, threading.Event(), [], 0
        self.pool = concurrent.futures.ThreadPoolExecutor(24)
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        due = time.time()
        while not self.stop.is_set():
            self.pool.submit(self.one)
            due += 1 / self.rate
            self.stop.wait(max(0, due - time.time()))

    def one(self):
        status, body = get()
        self.count += 1
        if not good(status, body):
            self.failures.append((status, body[:200]))

    def end(self):
        self.stop.set()
        self.thread.join()
        self.pool.shutdown()


def autoscaling():
    kubectl("scale", "deployment", "web", "--replicas=1")
    wait(lambda: ready("app=web", 1), 60)
    apply_text(AUTOSCALER)

    def replicas():
        return int(field("deployment", "web", "{.spec.replicas}"))
    crowd, quiet = Crowd(18), None
    grown = wait(lambda: replicas() == MOST_REPLICAS and ready("app=web", MOST_REPLICAS), 120, step=0.5)
    table = kubectl("get", "hpa", "web").strip().replace("\n", " | ")
    check(f"under load web goes from 1 to {MOST_REPLICAS} replicas by its request rate", grown, table)
    crowd.end()
    quiet = Crowd(1)
    shrunk = wait(lambda: replicas() == 1 and ready("app=web", 1), 150, step=0.5)
    check("and back to 1 when the load is gone", shrunk, kubectl("get", "hpa", "web").strip().replace("\n", " | "))
    quiet.end()
    failures = crowd.failures + quiet.failures
    check("no request failed meanwhile", not failures, f"{crowd.count + quiet.count} requests, {len(failures)} failed {failures[:2]}")
    events = kubectl("get", "events", "--field-selector", "involvedObject.kind=HorizontalPodAutoscaler", "-o", "jsonpath={.items[*].reason}")
    check("events tell of it", "SuccessfulRescale" in events, events)
    kubectl("delete", "hpa", "web")


def rollback():
    kubectl("set", "env", "deployment/catalog", "EDITION=second")
    kubectl("rollout", "status", "deployment/catalog", "--timeout=60s")
    history = kubectl("rollout", "history", "deployment/catalog")
    check("kubectl rollout history has two revisions", len([l for l in history.splitlines() if l[:1].isdigit()]) == 2, history)
    kubectl("rollout", "undo", "deployment/catalog")
    kubectl("rollout", "status", "deployment/catalog", "--timeout=60s")
    names = field("deployment", "catalog", "{.spec.template.spec.containers[0].env[*].name}")
    check("kubectl rollout undo takes the change back", "EDITION" not in names, names)
    kubectl("rollout", "pause", "deployment/catalog")
    kubectl("set", "env", "deployment/catalog", "EDITION=third")
    seen = lambda: field("deployment", "catalog", "{.metadata.generation} {.status.observedGeneration}").split()
    wait(lambda: len(set(seen())) == 1, 10)
    sets = len(kubectl("get", "rs", "-l", "app=catalog", "-o", "name").split())
    kubectl("rollout", "resume", "deployment/catalog")
    kubectl("rollout", "status", "deployment/catalog", "--timeout=60s")
    check("a paused Deployment rolls nothing out until it goes on",
          sets == 2 and len(kubectl("get", "rs", "-l", "app=catalog", "-o", "name").split()) == 3, sets)


def namespace():
    kubectl("create", "namespace", "short")
    apply_text(DAEMON.replace("watcher", "other"), "-n", "short")
    apply_text(DATABASE, "-n", "short")
    kubectl("create", "configmap", "c", "-n", "short", "--from-literal=a=b")
    account = field("serviceaccount", "default", "{.metadata.name}", "-n", "short")
    check("a new namespace has its service account", account == "default", account)
    wait(lambda: kubectl("get", "pods", "-n", "short", "-o", "name"), 20)
    kubectl("delete", "namespace", "short", "--wait=false")
    phase = field("namespace", "short", "{.status.phase}", "--ignore-not-found")
    refused = run("kubectl", "--kubeconfig", KUBECONFIG, "create", "configmap", "late", "-n", "short", "--from-literal=a=b", status=None, timeout=30)
    late = kubectl("get", "configmap", "late", "-n", "short", "--ignore-not-found", "-o", "name")
    check("a namespace that goes is Terminating and takes nothing new", phase in ("Terminating", "") and not late, phase + refused)
    check("and then it is gone, with all that was in it",
          wait(lambda: not kubectl("get", "namespace", "short", "--ignore-not-found", "-o", "name"), 60)
          and not json.loads(kubectl("get", "pods,sts,ds,cm,svc,endpointslices", "-n", "short", "-o", "json"))["items"])


def phases(before):
    def down():
        skein("down", timeout=180)
        check("nothing is left on the machine", not same_as(before), same_as(before))
    return [start, stateful_set, storage, jobs, daemon_set, rollback, autoscaling, namespace, down]
