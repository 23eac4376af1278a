"""CustomResourceDefinitions by kubectl: a kind of one's own, and those of the kinds that are compiled in."""
import json
import pathlib
import os

from .lib import Kubectl, check, kubectls

CRONTAB = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    additionalPrinterColumns: [{name: Spec, type: string, jsonPath: .spec.cronSpec}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [cronSpec]
            properties:
              cronSpec: {type: string, pattern: '^(\\*|\\d+)( (\\*|\\d+)){4}$', description: When it runs.}
              replicas: {type: integer, minimum: 1, default: 2}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""
OBJECT = """
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: my}
spec: {cronSpec: "* * * * 5"}
"""


def run(plane):
    for number, program in enumerate(kubectls()[-1:]):
        kubectl = Kubectl(program, plane.kubeconfig, str(plane.path / f"crd{number}"))
        tag = f"definitions by kubectl 1.{kubectl.minor}"
        out, _ = kubectl("apply", "-f", "-", stdin=CRONTAB)
        check(f"{tag}: apply", "created" in out, out)
        kubectl("wait", "--for=condition=Established", "crd/crontabs.stable.example.com", "--timeout=5s")
        out, _ = kubectl("apply", "-f", "-", stdin=CRONTAB)
        check(f"{tag}: apply again changes nothing", "unchanged" in out, out)
        out, _ = kubectl("apply", "-f", "-", stdin=OBJECT)
        kubectl("apply", "--server-side", "-f", "-", "--force-conflicts", stdin=OBJECT.replace("* * * * 5", "1 * * * 5"))
        kubectl("scale", "ct/my", "--replicas=3")
        out, _ = kubectl("get", "ct")
        made = json.loads(kubectl("get", "ct", "my", "-o", "json")[0])
        check(f"{tag}: columns, defaults, server-side apply, scale", "SPEC" in out and "1 * * * 5" in out
              and made["spec"]["replicas"] == 3, out)
        _, error = kubectl("apply", "-f", "-", stdin=OBJECT.replace("* * * * 5", "often"), code=1)
        check(f"{tag}: a value that breaks the schema", "spec.cronSpec" in error and "should match" in error, error)
        _, error = kubectl("apply", "-f", "-", stdin=OBJECT.replace("cronSpec:", "cron:"), code=1)
        check(f"{tag}: an unknown field", "unknown field" in error and ("spec.cron" in error or "(CronTab.spec)" in error), error)
        out, _ = kubectl("explain", "ct.spec.cronSpec")
        check(f"{tag}: explain", "When it runs." in out, out)
        kubectl("delete", "crd", "crontabs.stable.example.com", "--timeout=10s")
        _, error = kubectl("get", "ct", code=1)
        check(f"{tag}: it goes with its objects", "the server doesn't have a resource type" in error or "could not find" in error, error)

        # Whoever installs Istio or the Gateway API applies their definitions; what is compiled in stays as it is.
        groups = json.loads(kubectl("get", "--raw", "/apis")[0])["groups"]
        count = 0
        for group in groups:
            if not group["name"].endswith(("istio.io", "gateway.networking.k8s.io")):
                continue
            versions = [v["version"] for v in group["versions"]]
            served = {}
            for version in versions:
                for resource in json.loads(kubectl("get", "--raw", f"/apis/{group['name']}/{version}")[0])["resources"]:
                    if "/" not in resource["name"]:
                        served.setdefault(resource["name"], (resource, []))[1].append(version)
            for plural, (resource, own) in served.items():
                count += 1
                text = json.dumps({
                    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                    "metadata": {"name": f"{plural}.{group['name']}"},
                    "spec": {"group": group["name"], "scope": "Namespaced" if resource["namespaced"] else "Cluster",
                             "names": {"plural": plural, "kind": resource["kind"]},
                             "versions": [{"name": v, "served": True, "storage": v == own[0], "schema": {"openAPIV3Schema": {
                                 "type": "object", "x-kubernetes-preserve-unknown-fields": True}}} for v in own]}})
                kubectl("apply", "--server-side", "-f", "-", stdin=text)
                kubectl("delete", "crd", f"{plural}.{group['name']}")
        still = json.loads(kubectl("get", "--raw", "/apis")[0])["groups"]
        check(f"{tag}: the definitions of Istio and the Gateway API change nothing", count > 15 and still == groups, count)
        for path in filter(None, os.environ.get("SKEIN_CRD_FILES", "").split(":")):
            out, error = kubectl("apply", "--server-side", "-f", path, code=None)
            check(f"{tag}: {pathlib.Path(path).name}", "rror" not in error and "serverside-applied" in out, error)
