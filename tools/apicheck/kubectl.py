"""The everyday verbs of kubectl, each version in a namespace of its own."""
import json

from .lib import check

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: c
        image: IMAGE
        ports: [{containerPort: 80, name: http}, {containerPort: 53, protocol: UDP}]
        env: [{name: A, value: "1"}, {name: B, value: "2"}]
      - {name: side, image: s}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80}, {name: admin, port: 81}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: "1", b: "2"}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http: [{route: [{destination: {host: web}}]}]
"""


def attempt(name, body):
    try:
        body()
    except (RuntimeError, KeyError, IndexError, ValueError, AssertionError) as error:
        check(name, False, f"{type(error).__name__}: {error}")


def everyday(kubectl, namespace, whole=True):
    """All verbs; without `whole` those left out whose requests do not differ between versions."""
    tag = f"kubectl 1.{kubectl.minor}"

    def run(*words, **more):
        return kubectl("-n", namespace, *words, **more)

    def read(*words):
        return json.loads(run("get", *words, "-o", "json")[0])

    def apply():
        kubectl("create", "namespace", namespace)
        out, _ = run("apply", "-f", "-", stdin=WEB.replace("IMAGE", "x:1"))
        check(f"{tag}: apply creates", out.count("created") == 4, out)
        out, _ = run("apply", "-f", "-", stdin=WEB.replace("IMAGE", "x:1"))
        check(f"{tag}: apply again changes nothing", out.count("unchanged") == 4, out)
        changed = WEB.replace("IMAGE", "x:2").replace(', {name: B, value: "2"}', "").replace("      - {name: side, image: s}\n", "")
        changed = changed.replace("{name: admin, port: 81}", "{name: metrics, port: 82}").replace(', b: "2"', "")
        out, error = run("diff", "-f", "-", stdin=changed, code=1)
        check(f"{tag}: diff shows the change and stores nothing", "x:2" in out and read("deploy/web")["spec"]["template"]["spec"][
            "containers"][0]["image"] == "x:1", out + error)
        out, _ = run("apply", "-f", "-", stdin=changed)
        deployment, service = read("deploy/web"), read("svc/web")
        containers = deployment["spec"]["template"]["spec"]["containers"]
        check(f"{tag}: apply takes away what is gone, in lists too", len(containers) == 1 and containers[0]["image"] == "x:2"
              and containers[0]["env"] == [{"name": "A", "value": "1"}] and [p["port"] for p in service["spec"]["ports"]] == [80, 82]
              and read("cm/settings")["data"] == {"a": "1"} and "$" not in json.dumps(deployment["spec"]), containers)

    def server_side():
        text = WEB.replace("IMAGE", "x:2").replace("name: web", "name: ssa").replace("settings", "ssa")
        out, _ = run("apply", "--server-side", "-f", "-", stdin=text)
        check(f"{tag}: apply --server-side creates", out.count("serverside-applied") == 4, out)
        before = read("deploy/ssa")["metadata"]["resourceVersion"]
        run("apply", "--server-side", "-f", "-", stdin=text)
        check(f"{tag}: apply --server-side again changes nothing", True)
        run("scale", "deploy/ssa", "--replicas=4")
        _, error = run("apply", "--server-side", "-f", "-", stdin=text, code=1)
        check(f"{tag}: apply --server-side conflicts with scale", "conflict" in error and ".spec.replicas" in error, error)
        run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
        check(f"{tag}: --force-conflicts takes over", read("deploy/ssa")["spec"]["replicas"] == 2, before)
        out, _ = run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=WEB.replace("IMAGE", "x:2"))
        check(f"{tag}: what was applied by the client is taken over", out.count("serverside-applied") == 4, out)

    def edits():
        run("label", "deploy/web", "tier=front")
        run("annotate", "deploy/web", "note=x")
        run("patch", "deploy/web", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"x:3"}]}}}}')
        run("patch", "deploy/web", "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":3}]')
        run("patch", "deploy/web", "--type=merge", "-p", '{"spec":{"paused":true}}')
        run("set", "image", "deploy/web", "c=x:4")
        run("set", "env", "deploy/web", "NEW=1")
        run("scale", "deploy/web", "--replicas=1")
        now = read("deploy/web")
        container = now["spec"]["template"]["spec"]["containers"][0]
        check(f"{tag}: label, annotate, patch (three ways), set, scale", now["metadata"]["labels"]["tier"] == "front"
              and now["metadata"]["annotations"]["note"] == "x" and now["spec"]["replicas"] == 1 and now["spec"]["paused"]
              and container["image"] == "x:4" and container["env"][-1] == {"name": "NEW", "value": "1"}, container)
        text = json.dumps(now)
        run("replace", "-f", "-", stdin=text.replace("x:4", "x:5"))
        _, error = run("replace", "-f", "-", stdin=text, code=1)
        check(f"{tag}: replace, and a stale one is a conflict", "Conflict" in error or "modified" in error, error)

    def creates():
        run("create", "configmap", "c1", "--from-literal=a=b")
        run("create", "secret", "generic", "s1", "--from-literal=a=b")
        run("create", "serviceaccount", "sa1")
        run("create", "deployment", "d1", "--image=x", "--replicas=2")
        run("create", "service", "clusterip", "svc1", "--tcp=80:8080")
        run("create", "ingress", "i1", "--rule=a.b/x*=svc1:80")
        run("create", "role", "r1", "--verb=get,list", "--resource=pods,deployments.apps")
        run("create", "rolebinding", "b1", "--role=r1", f"--serviceaccount={namespace}:sa1")
        run("expose", "deployment", "d1", "--port=80", "--name=svc2")
        run("run", "p1", "--image=x", "--restart=Never")
        run("create", "job", "j1", "--image=x", "--", "true")
        run("rollout", "restart", "deploy/d1")
        run("rollout", "history", "deploy/d1")
        check(f"{tag}: create of all kinds by command line", read("secret/s1")["data"]["a"] == "Yg==" and read("role/r1")["rules"]
              and read("job/j1")["spec"]["template"]["spec"]["containers"][0]["command"] == ["true"])
        if kubectl.minor >= 24:
            check(f"{tag}: create token", run("create", "token", "sa1")[0].count(".") == 2)

    def rollouts():
        run("create", "deployment", "roll", "--image=x:1")
        run("set", "image", "deploy/roll", "x=x:2")
        out, _ = run("rollout", "history", "deploy/roll")
        check(f"{tag}: rollout history has both", [line.split()[0] for line in out.splitlines() if line[:1].isdigit()] == ["1", "2"], out)
        out, _ = run("rollout", "history", "deploy/roll", "--revision=1")
        check(f"{tag}: rollout history of one", "x:1" in out, out)
        run("rollout", "undo", "deploy/roll")

        def image():
            return read("deploy/roll")["spec"]["template"]["spec"]["containers"][0]["image"]
        check(f"{tag}: rollout undo", image() == "x:1", image())
        run("rollout", "undo", "deploy/roll", "--to-revision=2")
        check(f"{tag}: rollout undo --to-revision", image() == "x:2", image())
        run("rollout", "pause", "deploy/roll")
        check(f"{tag}: rollout pause", read("deploy/roll")["spec"]["paused"] is True)
        _, error = run("rollout", "restart", "deploy/roll", code=1)
        check(f"{tag}: what is paused is not restarted", "paused" in error, error)
        run("rollout", "resume", "deploy/roll")
        run("rollout", "restart", "deploy/roll")
        now = read("deploy/roll")["spec"]
        check(f"{tag}: rollout resume and restart", not now.get("paused") and "kubectl.kubernetes.io/restartedAt" in
              now["template"]["metadata"]["annotations"], now)
        out, error = run("rollout", "status", "deploy/roll", "--timeout=1s", code=1)
        check(f"{tag}: rollout status waits", "Waiting for" in out and "timed out" in error, out + error)
        run("set", "resources", "deploy/roll", "--limits=cpu=200m,memory=64Mi")
        run("set", "serviceaccount", "deploy/roll", "sa1")
        run("autoscale", "deploy/roll", "--min=1", "--max=3", "--cpu-percent=50")
        spec = read("deploy/roll")["spec"]["template"]["spec"]
        check(f"{tag}: set resources and serviceaccount, autoscale", spec["containers"][0]["resources"]["limits"]["cpu"] == "200m"
              and spec["serviceAccountName"] == "sa1" and read("hpa/roll")["spec"]["maxReplicas"] == 3, spec)
        run("label", "deploy/roll", "a=b")
        _, error = run("label", "deploy/roll", "a=c", code=1)
        check(f"{tag}: label does not overwrite unasked", "already has a value" in error, error)
        run("label", "deploy/roll", "a=c", "--overwrite")
        run("label", "deploy/roll", "a-")
        run("annotate", "deploy/roll", "n=1")
        run("annotate", "deploy/roll", "n-")
        meta = read("deploy/roll")["metadata"]
        check(f"{tag}: labels and annotations are taken away", "a" not in meta["labels"] and "n" not in meta["annotations"], meta)
        run("delete", "deploy/roll", "--cascade=orphan")
        sets = read("rs", "-l", "app=roll")["items"]
        check(f"{tag}: delete --cascade=orphan leaves what it owned", sets and not any(s["metadata"].get("ownerReferences") for s in sets), sets)
        run("delete", "rs,pods", "-l", "app=roll", "--wait=false")
        run("delete", "hpa", "roll")

    def machines():
        node, pod = f"machine-{namespace}", f"worker-{namespace}"
        kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}))
        run("apply", "-f", "-", stdin=json.dumps({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "x"}]}}))
        kubectl("cordon", node)
        out, _ = kubectl("get", "nodes", node)
        check(f"{tag}: cordon", "SchedulingDisabled" in out and json.loads(kubectl("get", "node", node, "-o", "json")[0])["spec"]["unschedulable"]
              is True, out)
        kubectl("uncordon", node)
        kubectl("taint", "node", node, "own=yes:NoSchedule")
        spec = json.loads(kubectl("get", "node", node, "-o", "json")[0])["spec"]
        check(f"{tag}: uncordon and taint", "unschedulable" not in spec and [(t["key"], t["value"], t["effect"]) for t in spec["taints"]] == [
            ("own", "yes", "NoSchedule")], spec)
        kubectl("taint", "node", node, "own-")
        check(f"{tag}: a taint is taken away", "taints" not in json.loads(kubectl("get", "node", node, "-o", "json")[0])["spec"])
        out, _ = kubectl("describe", "node", node)
        check(f"{tag}: describe node", "Unschedulable:" in out and pod in out, out)
        out, error = kubectl("drain", node, "--force", "--grace-period=0", "--ignore-daemonsets", "--timeout=30s")
        gone = run("get", "pod", pod, code=1)[1]
        check(f"{tag}: drain evicts what is there", "NotFound" in gone and "SchedulingDisabled" in kubectl("get", "nodes", node)[0], out + error + gone)
        kubectl("delete", "node", node)
        out, _ = kubectl("api-versions")
        check(f"{tag}: api-versions", "apps/v1" in out.split() and "v1" in out.split(), out)

    def reading():
        out, _ = run("get", "deploy,svc,cm", "-o", "wide")
        check(f"{tag}: get -o wide", "CONTAINERS" in out and "SELECTOR" in out and "DATA" in out, out)
        out, _ = run("get", "all")
        check(f"{tag}: get all", "deployment.apps/web" in out and "service/web" in out, out)
        out, _ = run("get", "pods", "-A", "-w", "--request-timeout=1s", code=None)
        out, _ = run("describe", "svc", "web")
        check(f"{tag}: describe", "Name:" in out and "Port:" in out, out)
        run("describe", "deploy", "web")
        run("describe", "virtualservice", "web")
        out, _ = run("explain", "deployment.spec.replicas")
        check(f"{tag}: explain", "replicas" in out and "integer" in out.lower(), out)
        if kubectl.minor >= 27:
            # What older ones use: the second version, which is a protobuf message.
            out, _ = run("explain", "deployment.spec.template.spec.containers.ports", "--output=plaintext-openapiv2")
            check(f"{tag}: explain by OpenAPI version 2", "containerPort" in out and "<integer> -required-" in out, out)
            out, _ = run("explain", "hpa.spec", "--api-version=autoscaling/v1", "--output=plaintext-openapiv2")
            check(f"{tag}: explain of autoscaling/v1", "targetCPUUtilizationPercentage" in out, out)
        out, _ = run("explain", "virtualservice.spec.http")
        check(f"{tag}: explain a custom kind", "route" in out, out)
        out, _ = run("api-resources")
        check(f"{tag}: api-resources", "virtualservices" in out and "rolebindings" in out, out)
        run("events") if kubectl.minor >= 26 else None
        run("cluster-info")
        if kubectl.minor >= 23:
            run("wait", "--for=jsonpath={.spec.replicas}=1", "deploy/web", "--timeout=5s")
        else:
            _, error = run("wait", "--for=delete", "deploy/web", "--timeout=1s", code=1)
            check(f"{tag}: wait", "timed out" in error, error)
        out, _ = run("get", "cm", "--sort-by=.metadata.name", "--field-selector=metadata.name=settings", "--chunk-size=1")
        check(f"{tag}: field selectors and sorting", "settings" in out and "c1" not in out, out)
        out, _ = run("get", "deploy", "-l", "tier in (front),app")
        check(f"{tag}: label selectors", "web" in out and "d1" not in out, out)

    def access():
        out, _ = run("auth", "can-i", "delete", "pods")
        check(f"{tag}: auth can-i", out.strip() == "yes", out)
        out, _ = run("auth", "can-i", "list", "pods", f"--as=system:serviceaccount:{namespace}:sa1")
        check(f"{tag}: auth can-i as an account with a role", out.strip() == "yes", out)
        out, _ = run("auth", "can-i", "delete", "pods", f"--as=system:serviceaccount:{namespace}:sa1", code=1)
        check(f"{tag}: auth can-i as an account without", out.strip() == "no", out)
        _, error = run("get", "secrets", f"--as=system:serviceaccount:{namespace}:sa1", code=1)
        check(f"{tag}: what no role allows is forbidden", "Forbidden" in error and "cannot list resource" in error, error)
        run("get", "pods", f"--as=system:serviceaccount:{namespace}:sa1")
        out, _ = run("auth", "can-i", "--list", f"--as=system:serviceaccount:{namespace}:sa1")
        check(f"{tag}: auth can-i --list", "deployments.apps" in out and "selfsubjectaccessreviews" in out, out)
        if kubectl.minor >= 28:
            out, _ = run("auth", "whoami")
            check(f"{tag}: auth whoami", "system:masters" in out, out)

    def refusals():
        _, error = run("apply", "-f", "-", stdin=WEB.replace("replicas: 2", "replikas: 2"), code=1)
        check(f"{tag}: an unknown field is refused", "replikas" in error, error)
        _, error = run("apply", "-f", "-", stdin=WEB.replace("port: 80}", "port: 99999}"), code=1)
        check(f"{tag}: a bad port is refused with its path", "spec.ports[0].port" in error, error)
        _, error = run("get", "deploy", "nothing", code=1)
        check(f"{tag}: not found", "NotFound" in error, error)

    def ends():
        run("delete", "deploy", "d1", "--wait=true", "--timeout=10s")
        run("delete", "cm", "--all")
        run("delete", "-f", "-", stdin=WEB.replace("IMAGE", "x:2").split("---\napiVersion: v1\nkind: ConfigMap")[0])
        kubectl("delete", "namespace", namespace, "--wait=false")
        check(f"{tag}: delete", True)

    for body in (apply, server_side, edits, creates, *((rollouts, machines) if whole else ()), reading, access, refusals, ends):
        attempt(f"{tag}: {body.__name__}", body)
