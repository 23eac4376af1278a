"""The Python client `kubernetes`: typed and dynamic, watch, patches, server-side apply, leases."""
import threading
import time

from .lib import check, wait


def manifest(name, image="x:1"):
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}},
                 "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": image}]}}}}


def run(plane):
    import kubernetes
    from kubernetes import client, config, dynamic, watch

    tag = f"python {kubernetes.__version__}"
    api = config.new_client_from_config(plane.kubeconfig)
    core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
    core.create_namespace({"metadata": {"name": "py"}})

    typed = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="typed", labels={"a": "b"}), data={"k": "v"})
    core.create_namespaced_config_map("py", typed)
    check(f"{tag}: a typed create and read", core.read_namespaced_config_map("typed", "py").data == {"k": "v"})
    apps.create_namespaced_deployment("py", manifest("web"))
    apps.patch_namespaced_deployment("web", "py", {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "x:2"}]}}}})
    scale = apps.patch_namespaced_deployment_scale("web", "py", {"spec": {"replicas": 3}})
    now = apps.read_namespaced_deployment("web", "py")
    check(f"{tag}: strategic merge patch and scale", now.spec.template.spec.containers[0].image == "x:2" and scale.spec.replicas == 3
          and now.spec.replicas == 3, now.spec)
    names = [m.manager for m in now.metadata.managed_fields]
    check(f"{tag}: managed fields are read", names and all(names), names)

    events = []

    def follow():
        for event in watch.Watch().stream(core.list_namespaced_config_map, "py", timeout_seconds=20):
            events.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                return
    thread = threading.Thread(target=follow)
    thread.start()
    wait("the first event", lambda: ("ADDED", "typed") in events)
    core.patch_namespaced_config_map("typed", "py", {"data": {"k": "w"}})
    core.delete_namespaced_config_map("typed", "py")
    thread.join(20)
    check(f"{tag}: a watch tells of every change in order", events[-3:] == [("ADDED", "typed"), ("MODIFIED", "typed"), ("DELETED", "typed")],
          events)

    for number in range(25):
        core.create_namespaced_config_map("py", {"metadata": {"name": f"page-{number:02}"}})
    seen, token = [], None
    while True:
        page = core.list_namespaced_config_map("py", limit=10, _continue=token)
        seen += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
    check(f"{tag}: a list in pages", len(seen) == 25 and seen == sorted(seen), seen)

    kinds = dynamic.DynamicClient(api)
    deployments = kinds.resources.get(api_version="apps/v1", kind="Deployment")
    applied = deployments.server_side_apply(body=manifest("ssa"), namespace="py", field_manager="pipeline")
    check(f"{tag}: dynamic server-side apply", applied.metadata.managedFields[0].manager == "pipeline")
    try:
        deployments.server_side_apply(body=manifest("ssa", "x:9"), namespace="py", field_manager="other")
        check(f"{tag}: a conflict is 409", False)
    except dynamic.exceptions.ConflictError as error:
        check(f"{tag}: a conflict is 409", "x:9" not in str(error) and ".image" in str(error), error)
    deployments.server_side_apply(body=manifest("ssa", "x:9"), namespace="py", field_manager="other", force_conflicts=True)
    check(f"{tag}: a conflict is forced", deployments.get(name="ssa", namespace="py").spec.template.spec.containers[0].image == "x:9")
    rules = kinds.resources.get(api_version="networking.istio.io/v1", kind="VirtualService")
    rules.create(body={"metadata": {"name": "r"}, "spec": {"hosts": ["x"], "http": [{"route": [{"destination": {"host": "x"}}]}]}},
                 namespace="py")
    rules.patch(name="r", namespace="py", body={"spec": {"hosts": ["y"]}}, content_type="application/merge-patch+json")
    check(f"{tag}: a custom kind, dynamic", rules.get(name="r", namespace="py").spec.hosts == ["y"])
    custom = client.CustomObjectsApi(api)
    check(f"{tag}: a custom kind by CustomObjectsApi",
          len(custom.list_namespaced_custom_object("networking.istio.io", "v1", "py", "virtualservices")["items"]) == 1)

    review = client.AuthorizationV1Api(api).create_self_subject_access_review(
        {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "py"}}})
    check(f"{tag}: an access review", review.status.allowed)
    core.create_namespaced_service_account("py", {"metadata": {"name": "robot"}})
    token = core.create_namespaced_service_account_token("robot", "py", {"spec": {"audiences": [], "expirationSeconds": 600}}).status.token
    robot = client.ApiClient(client.Configuration(host=api.configuration.host))
    robot.configuration.ssl_ca_cert = api.configuration.ssl_ca_cert
    robot = client.ApiClient(robot.configuration, header_name="authorization", header_value=f"Bearer {token}")
    mine = client.CoreV1Api(robot)

    def status(body):
        try:
            body()
            return 200
        except client.ApiException as error:
            return error.status
    check(f"{tag}: a service account without a role is forbidden", status(lambda: mine.list_namespaced_config_map("py")) == 403)
    client.RbacAuthorizationV1Api(api).create_namespaced_role_binding("py", {
        "metadata": {"name": "robot"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "py"}]})
    check(f"{tag}: and with one it reads, and nothing more", status(lambda: mine.list_namespaced_config_map("py")) == 200
          and status(lambda: mine.list_namespaced_secret("py")) == 403 and status(lambda: mine.list_node()) == 403)
    who = client.AuthenticationV1Api(api).create_token_review({"spec": {"token": token}})
    check(f"{tag}: TokenReview", who.status.authenticated and who.status.user.username == "system:serviceaccount:py:robot", who.status)
    bad = client.ApiClient(robot.configuration, header_name="authorization", header_value=f"Bearer {token[:-4]}AAAA")
    check(f"{tag}: ATK-39 a forged token is nobody", status(lambda: client.CoreV1Api(bad).list_namespaced_config_map("py")) == 401)
    core.delete_namespaced_service_account("robot", "py")
    check(f"{tag}: ATK-39 a token dies with its account", status(lambda: mine.list_namespaced_config_map("py")) == 401)

    from kubernetes.leaderelection import electionconfig, leaderelection
    from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock
    client.Configuration.set_default(api.configuration)
    led = threading.Event()
    lock = ConfigMapLock("leader", "py", "one")
    election = electionconfig.Config(lock, lease_duration=3, renew_deadline=2, retry_period=1, onstarted_leading=led.set,
                                     onstopped_leading=None)
    threading.Thread(target=lambda: leaderelection.LeaderElection(election).run(), daemon=True).start()
    check(f"{tag}: leader election", led.wait(10))

    core.delete_collection_namespaced_config_map("py", label_selector="a=b")
    core.delete_namespace("py")
    # Nobody ends pods here: another namespace shows that all else goes.
    core.create_namespace({"metadata": {"name": "py-gone"}})
    core.create_namespaced_config_map("py-gone", {"metadata": {"name": "in-it"}})
    core.delete_namespace("py-gone")
    deadline = time.monotonic() + 10
    while status(lambda: core.read_namespace("py-gone")) != 404 and time.monotonic() < deadline:
        time.sleep(0.1)
    check(f"{tag}: a namespace goes with all in it", status(lambda: core.read_namespace("py-gone")) == 404)
