"""CronJobs, disruption budgets, priorities, quotas and ranges, as kubectl makes and shows them."""
import json
import time

from .lib import Kubectl, check, kubectls, wait
from .pods import attempt

LIMITS = """
apiVersion: v1
kind: LimitRange
metadata: {name: range}
spec:
  limits:
  - type: Container
    max: {cpu: "1", memory: 1Gi}
    min: {cpu: 10m}
    default: {cpu: 500m, memory: 128Mi}
    defaultRequest: {cpu: 100m, memory: 64Mi}
"""


CRON = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "*/5 * * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: OnFailure, containers: [{name: tick, image: x, command: [date]}]}}}}
"""

CONTROLLER = """
apiVersion: v1
kind: ReplicationController
metadata: {name: old}
spec:
  replicas: 2
  selector: {app: old}
  template: {metadata: {labels: {app: old}}, spec: {containers: [{name: c, image: x}]}}
"""

BUDGET = """
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
"""


def pod(name, cpu=""):
    resources = json.dumps({"requests": {"cpu": cpu}}) if cpu else "{}"
    # A first brace would make it JSON.
    return f"""---
{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [{{name: c, image: x, resources: {resources}}}]}}}}"""


def run_one(one, namespace):
    tag = f"kubectl 1.{one.minor}"

    def run(*words, **more):
        return one("-n", namespace, *words, **more)

    def read(*words):
        return json.loads(run("get", *words, "-o", "json")[0])

    def cron():
        if one.minor >= 21:
            run("create", "cronjob", "tick", "--image=x", "--schedule=*/5 * * * *", "--", "date")
        else:  # It knows batch/v1beta1 only, which Kubernetes has given up.
            run("apply", "-f", "-", stdin=CRON)
        spec = read("cronjob/tick")["spec"]
        check(f"{tag}: create cronjob, with defaults", spec["concurrencyPolicy"] == "Allow" and spec["suspend"] is False
              and spec["successfulJobsHistoryLimit"] == 3 and spec["failedJobsHistoryLimit"] == 1
              and spec["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "OnFailure", spec)
        out, _ = run("get", "cj")
        check(f"{tag}: get cronjobs", "SCHEDULE" in out and "*/5 * * * *" in out and "LAST SCHEDULE" in out and "<none>" in out, out)
        out, _ = run("describe", "cronjob", "tick", code=0 if one.minor >= 21 else None)
        check(f"{tag}: describe cronjob", one.minor < 21 or "Concurrency Policy:" in out and "Allow" in out, out)
        if one.minor >= 21:
            run("create", "job", "now", "--from=cronjob/tick")
        else:
            owner = read("cj/tick")["metadata"]
            run("apply", "-f", "-", stdin=json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": {
                "name": "now", "annotations": {"cronjob.kubernetes.io/instantiate": "manual"}, "ownerReferences": [{
                    "apiVersion": "batch/v1", "kind": "CronJob", "name": "tick", "uid": owner["uid"], "controller": True}]},
                "spec": read("cj/tick")["spec"]["jobTemplate"]["spec"]}))
        job = read("job/now")
        check(f"{tag}: create job --from=cronjob", job["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
              and job["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] == "manual", job["metadata"])
        # Older ones do not say that it controls the Job: then it is nobody's.
        if not job["metadata"]["ownerReferences"][0].get("controller"):
            run("delete", "job", "now")
            run("apply", "-f", "-", stdin=json.dumps({**job, "metadata": {"name": "now", "ownerReferences": [
                {**job["metadata"]["ownerReferences"][0], "controller": True}]}, "spec": read("cj/tick")["spec"]["jobTemplate"]["spec"]}))
        wait("the job in status.active", lambda: [a["name"] for a in read("cronjob/tick")["status"].get("active", [])] == ["now"])
        check(f"{tag}: a Job that runs is active", True)
        run("patch", "cronjob", "tick", "-p", '{"spec":{"suspend":true,"timeZone":"Europe/Zurich"}}')
        out, _ = run("get", "cj", "tick")
        check(f"{tag}: suspended, in a zone", "True" in out and "Europe/Zurich" in out, out)
        for field, value, words in (("schedule", "61 * * * *", "above maximum (59)"), ("schedule", "x", "expected exactly 5 fields"),
                                    ("schedule", "TZ=UTC 0 * * * *", "use timeZone field instead"), ("timeZone", "Mars/Olympus", "unknown time zone")):
            _, errors = run("patch", "cronjob", "tick", "-p", json.dumps({"spec": {field: value}}), code=1)
            check(f"{tag}: {field} {value} is refused", words in errors and f"spec.{field}" in errors, errors)
        # As if two minutes had gone by: nobody waits for the clock.
        past = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 120))
        one.request("PATCH", f"/apis/batch/v1/namespaces/{namespace}/cronjobs/tick/status", {"status": {"lastScheduleTime": past}})
        run("patch", "cronjob", "tick", "-p", json.dumps({"spec": {"suspend": False, "schedule": "* * * * *"}}))
        found = wait("a Job by the clock", lambda: [j for j in read("jobs")["items"] if j["metadata"]["name"].startswith("tick-")], 90)
        check(f"{tag}: a Job by the clock", "batch.kubernetes.io/cronjob-scheduled-timestamp" in found[0]["metadata"]["annotations"]
              and "lastScheduleTime" in wait("its time", lambda: "lastScheduleTime" in read("cj/tick")["status"] and read("cj/tick")["status"]), found[0])
        run("delete", "cronjob", "tick")
        wait("its Jobs to go", lambda: not read("jobs")["items"])

    def budgets():
        run("create", "deployment", "web", "--image=x", "--replicas=2")
        run("apply", "-f", "-", stdin=BUDGET)
        if one.minor >= 21:
            run("create", "poddisruptionbudget", "made", "--selector=app=other", "--max-unavailable=50%")
            check(f"{tag}: create poddisruptionbudget", read("pdb/made")["spec"]["maxUnavailable"] == "50%")
            run("delete", "pdb", "made")
        wait("expected pods", lambda: read("pdb/web")["status"].get("expectedPods") == 2)
        out, _ = run("get", "pdb")
        check(f"{tag}: get pdb", "MIN AVAILABLE" in out and "ALLOWED DISRUPTIONS" in out and "N/A" in out, out)
        out, _ = run("describe", "pdb", "web", code=0 if one.minor >= 21 else None)
        if one.minor >= 21:
            check(f"{tag}: describe pdb", "Allowed disruptions:" in out.replace("Allowed Disruptions", "Allowed disruptions") and "Total:" in out, out)
        _, errors = run("apply", "-f", "-", stdin='---\n{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: bad}, spec: '
                        '{minAvailable: 1, maxUnavailable: 1}}', code=1)
        check(f"{tag}: both bounds are refused", "minAvailable and maxUnavailable cannot be both set" in errors, errors)
        pods = read("pods", "-l", "app=web")["items"]
        for number, item in enumerate(pods):
            status = {"status": {"phase": "Running", "podIP": f"10.9.9.{number + 1}", "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}
            path = f"/api/v1/namespaces/{namespace}/pods/{item['metadata']['name']}/status"
            one.request("PATCH", path, status)
        wait("one allowed disruption", lambda: read("pdb/web")["status"]["disruptionsAllowed"] == 1)
        answers = [one.request("POST", f"/api/v1/namespaces/{namespace}/pods/{p['metadata']['name']}/eviction",
                               {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": p["metadata"]["name"]}}) for p in pods]
        check(f"{tag}: of two pods one may be evicted", answers[0][0] == 201 and answers[1][0] == 429
              and answers[1][1]["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
              and answers[1][1]["details"]["causes"][0]["message"] == "The disruption budget web needs 1 healthy pods and has 1 currently", answers)
        run("delete", "deployment", "web")
        run("delete", "pdb", "web")

    def priorities():
        name = f"high-{namespace}"
        run("create", "priorityclass", name, "--value=1000", "--description=first")
        out, _ = run("get", "priorityclass")
        check(f"{tag}: get priorityclass", "VALUE" in out and name in out and "system-node-critical" in out and "2000001000" in out, out)
        run("apply", "-f", "-", stdin=pod("vip").replace("spec: {", f"spec: {{priorityClassName: {name}, "))
        run("apply", "-f", "-", stdin=pod("plain"))
        check(f"{tag}: the priority of pods", read("pod/vip")["spec"]["priority"] == 1000 and read("pod/plain")["spec"]["priority"] == 0)
        _, errors = run("apply", "-f", "-", stdin=pod("odd").replace("spec: {", "spec: {priorityClassName: nosuch, "), code=1)
        check(f"{tag}: a class that there is not", "no PriorityClass with name nosuch was found" in errors, errors)
        _, errors = run("patch", "priorityclass", name, "-p", '{"value": 5}', code=1)
        check(f"{tag}: the value stays", "may not be changed in an update" in errors, errors)
        run("describe", "priorityclass", name)
        run("delete", "pod", "vip", "plain", "--force", "--grace-period=0")
        run("delete", "priorityclass", name)

    def quotas():
        run("create", "quota", "few", "--hard=pods=2,requests.cpu=250m,services=1,count/configmaps=3")
        run("apply", "-f", "-", stdin=LIMITS)
        run("apply", "-f", "-", stdin=pod("one"))
        made = read("pod/one")
        check(f"{tag}: a range fills in", made["spec"]["containers"][0]["resources"] == {
            "limits": {"cpu": "500m", "memory": "128Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}}
            and "cpu request for container c" in made["metadata"]["annotations"]["kubernetes.io/limit-ranger"]
            and made["status"]["qosClass"] == "Burstable", made["spec"])
        _, errors = run("apply", "-f", "-", stdin=pod("big", "5m"), code=1)
        check(f"{tag}: a range refuses", 'pods "big" is forbidden: minimum cpu usage per Container is 10m, but request is 5m' in errors, errors)
        _, errors = run("apply", "-f", "-", stdin=pod("two", "200m"), code=1)
        check(f"{tag}: a quota refuses", 'pods "two" is forbidden: exceeded quota: few, requested: requests.cpu=200m, '
              "used: requests.cpu=100m, limited: requests.cpu=250m" in errors, errors)
        run("create", "service", "clusterip", "a", "--tcp=80")
        _, errors = run("create", "service", "clusterip", "b", "--tcp=80", code=1)
        check(f"{tag}: a quota of services", "exceeded quota: few, requested: services=1, used: services=1, limited: services=1" in errors, errors)
        wait("the quota's status", lambda: read("quota/few")["status"].get("used", {}).get("requests.cpu") == "100m")
        out, _ = run("get", "quota")
        check(f"{tag}: get quota", ("pods: 1/2" in out and "requests.cpu: 100m/250m" in out), out)
        out, _ = run("describe", "quota", "few")
        check(f"{tag}: describe quota", "Resource" in out and "Used" in out and "100m" in out, out)
        out, _ = run("describe", "limits", "range")
        check(f"{tag}: describe limits", "Container" in out and "cpu" in out and "500m" in out, out)
        out, _ = run("get", "limits")
        check(f"{tag}: get limits", "CREATED AT" in out and "range" in out, out)
        out, _ = one("describe", "namespace", namespace)
        check(f"{tag}: describe namespace shows both", "Resource Quotas" in out and "Resource Limits" in out, out)
        run("delete", "quota/few", "limits/range", "svc/a")
        run("delete", "pod/one", "--force", "--grace-period=0")

    def controllers():
        run("apply", "-f", "-", stdin=CONTROLLER)
        wait("pods of the controller", lambda: len(read("pods", "-l", "app=old")["items"]) == 2)
        run("scale", "rc/old", "--replicas=3")
        wait("one more", lambda: len(read("pods", "-l", "app=old")["items"]) == 3)
        out, _ = run("get", "rc", "-o", "wide")
        check(f"{tag}: get rc", out.split()[:8] == ["NAME", "DESIRED", "CURRENT", "READY", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
              and "app=old" in out and " 3 " in out, out)
        out, _ = run("describe", "rc", "old")
        check(f"{tag}: describe rc", "3 current / 3 desired" in out and "app=old" in out and "SuccessfulCreate" in out, out)
        out, _ = run("get", "all")
        check(f"{tag}: get all shows it", "replicationcontroller/old" in out, out)
        run("expose", "rc", "old", "--port=80", "--name=old")
        run("autoscale", "rc", "old", "--min=2", "--max=4")
        check(f"{tag}: expose and autoscale rc", read("svc/old")["spec"]["selector"] == {"app": "old"}
              and read("hpa/old")["spec"]["scaleTargetRef"]["kind"] == "ReplicationController")
        out, _ = run("explain", "rc.spec.selector")
        check(f"{tag}: explain rc", "map[string]string" in out, out)
        _, errors = run("apply", "-f", "-", stdin=CONTROLLER.replace("{app: old}}, spec", "{app: other}}, spec").replace("name: old}", "name: bad}"),
                        code=1)
        check(f"{tag}: a selector that does not match", "`selector` does not match template `labels`" in errors, errors)
        run("delete", "hpa/old", "svc/old", "rc/old")
        wait("its pods to go", lambda: all("deletionTimestamp" in p["metadata"] for p in read("pods", "-l", "app=old")["items"]))

    one("create", "namespace", namespace)
    for body in (priorities, quotas, controllers, budgets, cron):
        attempt(f"{tag}: {body.__name__}", body)
    one("delete", "namespace", namespace, "--wait=false")


def run(plane):
    # The newest and the oldest: what differs between them are forms of requests, which the part kubectl goes through.
    for number, program in enumerate(kubectls()[-2:]):
        one = Kubectl(program, plane.kubeconfig, str(plane.path / f"kinds{number}"))
        one.request = plane.request
        run_one(one, f"kinds{one.minor}")
