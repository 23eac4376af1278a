"""Clients that nobody here has written: kopf (an operator), lightkube (answers decoded strictly), kubernetes_asyncio (flags in Python's words), kr8s and
pykube-ng (objects that change themselves)."""
import asyncio
import json
import os
import subprocess
import sys
import threading
import time

from .lib import check, wait

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "versions": [{
            "name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
                "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}}}]}}

OPERATOR = """
import kopf
@kopf.on.startup()
def configure(settings, **_): settings.persistence.finalizer = "example.com/finalizer"
@kopf.on.create("example.com", "v1", "widgets")
def made(spec, patch, body, **_):
    patch.status["seen"] = spec["size"]
    kopf.info(body, reason="Made", message="made it")
@kopf.on.update("example.com", "v1", "widgets", field="spec.size")
def changed(old, new, patch, **_): patch.status["change"] = f"{old} to {new}"
@kopf.on.delete("example.com", "v1", "widgets")
def gone(retry, **_):
    if retry < 1: raise kopf.TemporaryError("not yet", delay=0.1)
@kopf.timer("example.com", "v1", "widgets", interval=0.2)
def tick(patch, status, **_): patch.status["ticks"] = status.get("ticks", 0) + 1
"""


def manifest(name, replicas):
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: clients}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{containers: [{{name: c, image: x}}]}}}}
"""


def operator(plane, api):
    """kopf: finalizers, patches of status, events, timers."""
    from kubernetes import client
    tag = "kopf"
    path = plane.path / "operator.py"
    path.write_text(OPERATOR)
    objects = client.CustomObjectsApi(api)
    place = ("example.com", "v1", "clients", "widgets")
    log = open(plane.path / "kopf.log", "w+b")
    process = subprocess.Popen([sys.executable, "-m", "kopf", "run", str(path), "-n", "clients", "--standalone"], stdout=log, stderr=log,
                               env={**os.environ, "KUBECONFIG": plane.kubeconfig})
    try:
        objects.create_namespaced_custom_object(*place, {
            "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}})

        def status():
            return objects.get_namespaced_custom_object(*place, "w").get("status", {})

        def tail():
            return (plane.path / "kopf.log").read_text(errors="replace")[-1000:]
        made = wait("kopf's handler", lambda: status().get("seen") == 3 and status().get("ticks", 0) > 1, 60, tail)
        check(f"{tag}: creation, status and timer", made)
        objects.patch_namespaced_custom_object(*place, "w", {"spec": {"size": 5}})
        check(f"{tag}: a change", wait("the change", lambda: status().get("change") == "3 to 5", 60, tail))
        events = client.CoreV1Api(api)
        check(f"{tag}: an event", wait("the event", lambda: [
            e for e in events.list_namespaced_event("clients").items if e.reason == "Made" and e.message == "made it"], 60, tail))
        objects.delete_namespaced_custom_object(*place, "w")
        check(f"{tag}: the finalizer goes after a second try", wait(
            "the end", lambda: not objects.list_namespaced_custom_object(*place)["items"], 60, tail))
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def strict(plane):
    """lightkube: every answer is decoded by its type, an unexpected null is an error."""
    import lightkube
    from lightkube import codecs, operators
    from lightkube.core.exceptions import ApiError
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources import apps_v1, core_v1, discovery_v1
    from lightkube.types import PatchType
    tag = "lightkube"
    client = lightkube.Client(lightkube.KubeConfig.from_file(plane.kubeconfig), field_manager="light")
    made = client.apply(codecs.load_all_yaml(manifest("light", 2))[0])
    check(f"{tag}: server-side apply", made.metadata.managedFields[0].manager == "light")
    try:
        client.apply(codecs.load_all_yaml(manifest("light", 3))[0], field_manager="other")
        check(f"{tag}: a conflict names the field", False)
    except ApiError as error:
        check(f"{tag}: a conflict names the field", error.status.details.causes[0].field == ".spec.replicas", error.status)
    changed = codecs.load_all_yaml(manifest("light", 7))[0]
    dry = client.apply(changed, dry_run=True)
    now = client.get(apps_v1.Deployment, "light", namespace="clients")
    check(f"{tag}: a dry run shows the version of what is there", dry.spec.replicas == 7 and now.spec.replicas == 2
          and dry.metadata.resourceVersion, dry.metadata)
    scale = client.patch(apps_v1.Deployment.Scale, "light", {"spec": {"replicas": 1}}, namespace="clients", patch_type=PatchType.MERGE)
    check(f"{tag}: scale", scale.spec.replicas == 1 and scale.status.selector == "app=light", scale)
    client.create(core_v1.ConfigMap(metadata=ObjectMeta(name="light", namespace="clients", labels={"a": "1"}), data={"k": "v"}))
    found = list(client.list(core_v1.ConfigMap, namespace="clients", labels={"a": operators.in_(["1", "2"]), "b": operators.not_exists()}))
    check(f"{tag}: selectors", [o.metadata.name for o in found] == ["light"], found)
    for kind in (core_v1.Node, core_v1.Service, core_v1.Event, core_v1.Namespace, discovery_v1.EndpointSlice, apps_v1.ReplicaSet):
        list(client.list(kind, namespace="*") if kind not in (core_v1.Node, core_v1.Namespace) else client.list(kind))
    check(f"{tag}: lists of six kinds are of their types", True)


def asynchronous(plane):
    """kubernetes_asyncio: `watch=True` as Python writes it, a watch from a version of long ago."""
    from kubernetes_asyncio import client, config, dynamic, watch
    tag = "kubernetes_asyncio"

    async def run():
        await config.load_kube_config(plane.kubeconfig)
        async with client.ApiClient() as api:
            core = client.CoreV1Api(api)
            seen = []
            async with watch.Watch().stream(core.list_namespaced_config_map, "clients", timeout_seconds=30) as stream:
                async for event in stream:
                    seen.append((event["type"], event["object"].metadata.name))
                    if seen[-1] == ("ADDED", "later"):
                        break
                    if len(seen) == 1:
                        await core.create_namespaced_config_map("clients", {"metadata": {"name": "later"}})
            check(f"{tag}: watch", seen[-1] == ("ADDED", "later"), seen)
            answer = await core.list_namespaced_config_map("clients", watch=True, resource_version="1", timeout_seconds=5, _preload_content=False)
            event = json.loads(await answer.content.readline())
            check(f"{tag}: a watch from a forgotten version is an event", answer.status == 200 and event["type"] == "ERROR"
                  and event["object"]["code"] == 410, event)
            answer.close()
            kinds = await dynamic.DynamicClient(api)
            deployments = await kinds.resources.get(api_version="apps/v1", kind="Deployment")
            found = await deployments.get(namespace="clients")
            check(f"{tag}: dynamic", [o.metadata.name for o in found.items] == ["light"], found)
    asyncio.run(run())


def themselves(plane):
    """kr8s: objects that scale, label and wait for themselves, by HTTP requests of httpx."""
    import kr8s
    import yaml
    from kr8s.objects import ConfigMap, Deployment
    tag = "kr8s"
    api = kr8s.api(kubeconfig=plane.kubeconfig)
    check(f"{tag}: version", int(api.version()["minor"].rstrip("+")) >= 20)
    made = Deployment(yaml.safe_load(manifest("kr", 1)), api=api)
    made.create()
    made.scale(0)
    made.label(team="a")
    made.annotate({"note": "b"})
    made.patch({"spec": {"paused": True}})
    made.refresh()
    check(f"{tag}: create, scale, label, annotate, patch", made.exists() and made.replicas == 0 and made.labels["team"] == "a"
          and made.annotations["note"] == "b" and made.spec["paused"], made.raw)
    ConfigMap({"metadata": {"name": "kr", "namespace": "clients", "labels": {"by": "kr8s"}}, "data": {"k": "v"}}, api=api).create()
    found = list(api.get("configmaps", namespace="clients", label_selector={"by": "kr8s"}))
    check(f"{tag}: selectors", [o.name for o in found] == ["kr"], found)
    found[0].delete()
    made.delete()
    check(f"{tag}: delete", wait("the end", lambda: not made.exists() and not list(
        api.get("configmaps", namespace="clients", label_selector="by=kr8s")), 60))


def queries(plane):
    """pykube-ng: queries, scale and updates by merge patch, by HTTP requests of requests."""
    import pykube
    import yaml
    tag = "pykube-ng"
    api = pykube.HTTPClient(pykube.KubeConfig.from_file(plane.kubeconfig))
    deployment = pykube.Deployment(api, yaml.safe_load(manifest("py", 1)))
    deployment.create()

    def done(act):
        # Controllers write, too: who was overtaken looks again.
        deployment.reload()
        try:
            act()
        except pykube.exceptions.HTTPError as error:
            if error.code != 409:
                raise
            return False
        return True

    def label():
        deployment.labels["team"] = "b"
        deployment.update()
    wait("a scale that nobody overtakes", lambda: done(lambda: deployment.scale(0)), 60)
    wait("an update that nobody overtakes", lambda: done(label), 60)
    again = pykube.Deployment.objects(api).filter(namespace="clients", selector={"team": "b"}).get(name="py")
    check(f"{tag}: create, scale, update, query", again.replicas == 0 and again.labels["team"] == "b", again.obj)
    again.patch({"metadata": {"annotations": {"note": "c"}}})
    check(f"{tag}: patch", again.annotations["note"] == "c", again.obj)
    try:
        pykube.Deployment(api, yaml.safe_load(manifest("py", 1))).create()
        check(f"{tag}: a conflict is an error of its own", False)
    except pykube.exceptions.HTTPError as error:
        check(f"{tag}: a conflict is an error of its own", error.code == 409, error)
    version = api.get(**{"version": "", "base": "", "url": "api/v1/namespaces/clients/configmaps"}).json()["metadata"]["resourceVersion"]
    pykube.ConfigMap(api, {"metadata": {"name": "py", "namespace": "clients"}, "data": {"k": "v"}}).create()
    watch = pykube.ConfigMap.objects(api).filter(namespace="clients", field_selector={"metadata.name": "py"}).watch(since=version)
    event = next(iter(watch))
    check(f"{tag}: watch", (event.type, event.object.name) == ("ADDED", "py"), event)
    event.object.delete()
    again.delete()
    check(f"{tag}: delete", wait("the end", lambda: not again.exists() and not event.object.exists(), 60))


def run(plane):
    from kubernetes import client, config
    api = config.new_client_from_config(plane.kubeconfig)
    core = client.CoreV1Api(api)
    core.create_namespace({"metadata": {"name": "clients"}})
    definitions = client.ApiextensionsV1Api(api)
    definitions.create_custom_resource_definition(DEFINITION)
    begin = time.monotonic()
    strict(plane)
    themselves(plane)
    queries(plane)
    failures = []

    def beside():
        try:
            asynchronous(plane)
        except Exception as error:  # a client's own errors are of many types
            failures.append(f"{type(error).__name__}: {error}")
    thread = threading.Thread(target=beside)
    thread.start()
    operator(plane, api)
    thread.join(60)
    check("kubernetes_asyncio ran to its end", not thread.is_alive() and not failures, failures)
    definitions.delete_custom_resource_definition("widgets.example.com")
    core.delete_namespace("clients")
    print(f"     clients: {time.monotonic() - begin:.1f} s", flush=True)
