"""ext_authz over HTTP and gRPC."""
from client import Request, TCP, get, post
from config import LOG_FORMAT, access_log, add, bootstrap, chain, cluster, http, http_filter, listener, network_filter, route, tcp_proxy, typed
from model import Answer, Group, Upstream, answer

GROUP = Group("extauthz")
NAME, AUTHZ = "envoy.filters.http.ext_authz", "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
PER_ROUTE = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
STATS = ["http.ingress.ext_authz.*", "cluster.*.ext_authz.*"]


def over_http(**fields):
    return {"http_service": {"server_uri": {"uri": "http://auth.test", "cluster": "auth", "timeout": "0.5s"}, **fields}}


def exact(*names):
    return {"patterns": [{"exact": n} for n in names]}


def setup(name, *, routes=None, auth=("auth",), http_fields=None, **fields):
    return GROUP.setup(name, http(routes or [route("/", "a")], [cluster("a"), cluster("auth", list(auth))], filters=[http_filter(NAME, AUTHZ, **{**over_http(**(http_fields or {})), **fields})]), stats=STATS)


OK = answer(200, ("x-auth", "yes"), ("x-user", "jason"), ("set-cookie", "s=1"), ("x-secret", "no"), body=b"")
NO = answer(403, ("x-reason", "because"), ("content-type", "text/custom"), ("set-cookie", "d=1"), body=b"denied!")
s = setup("http", http_fields={"path_prefix": "/check", "authorization_request": {"headers_to_add": [{"key": "x-by", "value": "proxy"}]}, "authorization_response": {
    "allowed_upstream_headers": exact("x-auth", "x-user"), "allowed_upstream_headers_to_append": exact("x-more"), "allowed_client_headers": exact("x-reason"), "allowed_client_headers_on_success": exact("set-cookie")}},
    allowed_headers=exact("x-in", "cookie"))
s.case("http: allowed", get("/p?q=1", [("x-in", "1"), ("x-other", "2"), ("cookie", "a=b"), ("authorization", "Basic x")]), upstream={"auth": [OK]})
s.case("http: allowed, client's header is overwritten", get("/", [("x-user", "spoof"), ("x-more", "old")]), upstream={"auth": [answer(200, ("x-user", "jason"), ("x-more", "new"), body=b"")]})
s.case("http: denied", get("/"), upstream={"auth": [NO]})
s.case("http: 401 with a challenge", get("/"), upstream={"auth": [answer(401, ("www-authenticate", "Basic realm=x"), ("location", "/l"), body=b"who?")]})
s.case("http: a redirect to log in", get("/"), upstream={"auth": [answer(302, ("location", "http://login.test/"), body=b"")]})
s.case("http: 500", get("/"), upstream={"auth": [answer(500, body=b"oops")]})
s.case("http: 503", get("/"), upstream={"auth": [answer(503, body=b"oops")]})
s.case("http: hangs", get("/"), upstream={"auth": [answer(hang=True)]})
s.case("http: resets", get("/"), upstream={"auth": [answer(reset="before")]})
s.case("http: POST with a body is asked without it", post("/", b"secret"), upstream={"auth": [OK]})
s.case("http: denied POST on a connection that goes on", post("/", b"x" * 2000, conn="c"), get("/", conn="c"), upstream={"auth": [NO, OK]})
s.case("http: HEAD denied", Request("HEAD", "/"), upstream={"auth": [NO]})
s.case("http: 204 is not 200", get("/"), upstream={"auth": [answer(204)]})
s = setup("defaults")
s.case("http defaults: allowed", get("/p", [("x-in", "1"), ("authorization", "Basic x")]), upstream={"auth": [OK]})
s.case("http defaults: denied", get("/p"), upstream={"auth": [NO]})
s = setup("down", auth=("dead",))
s.case("service down: closed", get("/"))
s = setup("fail open", auth=("dead",), failure_mode_allow=True, failure_mode_allow_header_add=True)
s.case("service down: open", get("/"))
s = setup("fail open on 5xx", failure_mode_allow=True)
s.case("fail open: 503", get("/"), upstream={"auth": [answer(503)]})
s.case("fail open: 403 stays", get("/"), upstream={"auth": [NO]})
s.case("fail open: timeout", get("/"), upstream={"auth": [answer(hang=True)]})
s = setup("status on error", auth=("dead",), status_on_error={"code": "ServiceUnavailable"})
s.case("status on error", get("/"))
s = setup("with body", with_request_body={"max_request_bytes": 10, "allow_partial_message": True})
s.case("with body: short", post("/", b"short"), upstream={"auth": [OK]})
s.case("with body: partial", post("/", b"x" * 50), upstream={"auth": [OK]})
s.case("with body: none", get("/"), upstream={"auth": [OK]})
s = setup("with whole body", with_request_body={"max_request_bytes": 10})
s.case("with body: too large", post("/", b"x" * 50), upstream={"auth": [OK]})
s = setup("per route", routes=[
    route("/off", "a", typed_per_filter_config={NAME: typed(PER_ROUTE, disabled=True)}),
    route("/context", "a", typed_per_filter_config={NAME: typed(PER_ROUTE, check_settings={"context_extensions": {"k": "v"}})}), route("/", "a")])
s.case("per route: off", get("/off"), upstream={"auth": [NO]})
s.case("per route: context over HTTP", get("/context"), upstream={"auth": [OK]})
s = setup("clear", clear_route_cache=True, routes=[route("/", "a", name="by-auth", matcher={"headers": [{"name": "x-auth", "present_match": True}]}), route("/", "a", name="before")],
          http_fields={"authorization_response": {"allowed_upstream_headers": exact("x-auth")}})
s.case("route is chosen again", get("/"), upstream={"auth": [OK]})
s = setup("disabled", filter_enabled={"default_value": {"numerator": 0}, "runtime_key": "x"})
s.case("filter enabled for 0 %", get("/"))
s = setup("deny at disable", filter_enabled={"default_value": {"numerator": 0}, "runtime_key": "x"}, deny_at_disable={"default_value": True, "runtime_key": "y"}, status_on_error={"code": "Conflict"})
s.case("denied while disabled", get("/"))


def over_grpc(name, *, routes=None, http2=("auth",), service=None, **fields):
    service = service or {"envoy_grpc": {"cluster_name": "auth"}, "timeout": "0.5s"}
    clusters = [cluster("a"), cluster("auth", list(http2), http2=True)] if "envoy_grpc" in service else [cluster("a")]
    return GROUP.setup(name, http(routes or [route("/", "a")], clusters, filters=[http_filter(NAME, AUTHZ, grpc_service=service, transport_api_version="V3", **fields)]),
        stats=STATS, upstreams={"auth": Upstream(kind="http2", decode="envoy.service.auth.v3.external_auth_pb2:CheckRequest")},
        ignore=["upstream.*.messages.*.attributes.source.address*", "upstream.*.messages.*.attributes.request.time*", "upstream.*.messages.*.attributes.request.http.id", "upstream.*.messages.*.attributes.request.http.headers.x-request-id", "upstream.*.headers.grpc-timeout", "upstream.*.headers.user-agent"])


def reply(code=0, ok=None, denied=None, message="", grpc_status=0, metadata=None):
    def make(_):
        from envoy.service.auth.v3 import external_auth_pb2 as pb
        response = pb.CheckResponse()
        response.status.code, response.status.message = code, message
        if ok is not None:
            for key, value, *action in ok.get("headers", ()):
                option = response.ok_response.headers.add()
                option.header.key, option.header.value = key, value
                if action and isinstance(action[0], bool):
                    option.append.value = action[0]
                elif action:
                    option.append_action = action[0]
            response.ok_response.headers_to_remove.extend(ok.get("remove", ()))
            for key, value, *action in ok.get("response", ()):
                option = response.ok_response.response_headers_to_add.add()
                option.header.key, option.header.value = key, value
                if action and isinstance(action[0], bool):
                    option.append.value = action[0]
                elif action:
                    option.append_action = action[0]
            for key, value in ok.get("query", ()):
                parameter = response.ok_response.query_parameters_to_set.add()
                parameter.key, parameter.value = key, value
            response.ok_response.query_parameters_to_remove.extend(ok.get("query_remove", ()))
            response.ok_response.SetInParent()
        if denied is not None:
            response.denied_response.status.code = denied.get("status", 403)
            response.denied_response.body = denied.get("body", "")
            for key, value, *append in denied.get("headers", ()):
                option = response.denied_response.headers.add()
                option.header.key, option.header.value = key, value
                if append:
                    option.append.value = append[0]
        if metadata:
            response.dynamic_metadata.update(metadata)
        return ([response.SerializeToString()] if grpc_status == 0 else []), grpc_status, "" if grpc_status == 0 else "failed"
    return Answer(grpc=make)


s = over_grpc("grpc")
s.case("grpc: allowed", get("/p?q=1", [("x-in", "1"), ("authorization", "Basic x")]), upstream={"auth": [reply(ok={"headers": [("x-user", "jason")], "remove": ["x-in"], "response": [("x-added", "1")]})]})
s.case("grpc: header actions", get("/", [("x-app", "old"), ("x-over", "old")]), upstream={"auth": [reply(ok={"headers": [("x-app", "new", 0), ("x-over", "new", 2), ("x-abs", "new", 1)]})]})
s.case("grpc: query parameters", get("/p?a=1&b=2"), upstream={"auth": [reply(ok={"query": [("c", "3")], "query_remove": ["a"]})]})
s.case("grpc: the source is the connection's peer", get("/", [("x-forwarded-for", "192.0.2.7")]), upstream={"auth": [reply(ok={})]})
s.case("grpc: denied", get("/"), upstream={"auth": [reply(code=7)]})
s.case("grpc: denied with an answer of its own", get("/"), upstream={"auth": [reply(code=7, denied={"status": 401, "body": "who?", "headers": [("x-why", "because")]})]})
s.case("grpc: the call fails", get("/"), upstream={"auth": [reply(grpc_status=14)]})
s.case("grpc: the call hangs", get("/"), upstream={"auth": [answer(hang=True)]})
s.case("grpc: an unusable answer", get("/"), upstream={"auth": [Answer(grpc=lambda _: ([b"\xff\xff\xff"], 0, ""))]})
s.case("grpc: POST", post("/", b"secret"), upstream={"auth": [reply(ok={})]})
s = over_grpc("grpc with body", with_request_body={"max_request_bytes": 10, "allow_partial_message": True})
s.case("grpc with body: partial", post("/", b"y" * 50), upstream={"auth": [reply(ok={})]})
s = over_grpc("grpc context", routes=[route("/", "a", typed_per_filter_config={NAME: typed(PER_ROUTE, check_settings={"context_extensions": {"k": "v"}})})])
s.case("grpc context extensions", get("/"), upstream={"auth": [reply(ok={})]})
# The channel of Google's library says who it is and what it understands, and has the counters of a cluster nowhere.
s = over_grpc("grpc to a target", service={"google_grpc": {"target_uri": "127.0.0.1:$port:auth", "stat_prefix": "auth"}, "timeout": "5s", "initial_metadata": [{"key": "x-of", "value": "%REQ(:path)%"}]})
s.ignore += ["upstream.*.headers.grpc-accept-encoding", "upstream.*.headers.accept-encoding", "stats.cluster.google_grpc*", "stats.cluster.auth.*"]
s.case("grpc to a target: allowed", get("/p"), upstream={"auth": [reply(ok={"headers": [("x-user", "jason")]})]})
s.case("grpc to a target: denied", get("/p"), upstream={"auth": [reply(code=7, denied={"status": 403})]})
s = over_grpc("grpc down", http2=("dead",))
s.case("grpc service down", get("/"))

s = over_grpc("grpc more")
OLD = [("x-app", "old"), ("x-over", "old"), ("x-abs", "old"), ("x-if", "old")]
s.case("grpc: header actions on fields that are there", get("/", OLD), upstream={"auth": [reply(ok={"headers": [("x-app", "new", 0), ("x-over", "new", 2), ("x-abs", "new", 1), ("x-if", "new", 3)]})]})
s.case("grpc: header actions on fields that are not there", get("/"), upstream={"auth": [reply(ok={"headers": [("x-app", "new", 0), ("x-over", "new", 2), ("x-abs", "new", 1), ("x-if", "new", 3)]})]})
s.case("grpc: append", get("/", OLD), upstream={"auth": [reply(ok={"headers": [("x-app", "new", True), ("x-over", "new", False), ("x-none", "new", True)]})]})
s.case("grpc: two of a name", get("/"), upstream={"auth": [reply(ok={"headers": [("x-two", "1"), ("x-two", "2")]})]})
s.case("grpc: pseudo headers", get("/p"), upstream={"auth": [reply(ok={"headers": [(":path", "/changed"), ("host", "other.test")], "remove": [":method", "host"]})]})
ANSWER = answer(200, ("x-there", "old"), ("x-over", "old"), ("x-abs", "old"), ("x-if", "old"), body=b"hi")
s.case("grpc: response actions on fields that are there", get("/"), upstream={"a": [ANSWER], "auth": [reply(ok={"response": [("x-there", "new", 0), ("x-over", "new", 2), ("x-abs", "new", 1), ("x-if", "new", 3)]})]})
s.case("grpc: response actions on fields that are not there", get("/"), upstream={"auth": [reply(ok={"response": [("x-there", "new", 0), ("x-over", "new", 2), ("x-abs", "new", 1), ("x-if", "new", 3)]})]})
s.case("grpc: response append", get("/"), upstream={"a": [ANSWER], "auth": [reply(ok={"response": [("x-there", "new", True), ("x-over", "new", False)]})]})
s.case("grpc: denied fields", get("/"), upstream={"auth": [reply(code=7, denied={"status": 418, "headers": [("content-type", "text/html"), ("x-two", "1"), ("x-two", "2", True), ("location", "/x")], "body": "<p>"})]})
s.case("grpc: denied for gRPC", get("/", [("content-type", "application/grpc")]), upstream={"auth": [reply(code=7, denied={"status": 401, "body": "who?"})]})
s.case("grpc: unknown status of the answer", get("/"), upstream={"auth": [reply(code=7, denied={"status": 0})]})
s.case("grpc: query of nothing", get("/p"), upstream={"auth": [reply(ok={"query": [("z", "1"), ("a", "2")]})]})
s.case("grpc: two Cookie fields", get("/", [("x-a", "1"), ("x-a", "2")]), upstream={"auth": [reply(ok={})]})
s = over_grpc("grpc metadata", stat_prefix="mine")
s.case("grpc: metadata and a prefix of counters", get("/"), upstream={"auth": [reply(ok={}, metadata={"user": "jason"})]})
s = over_grpc("grpc validated", validate_mutations=True)
s.case("grpc: a field that cannot be", get("/"), upstream={"auth": [reply(ok={"headers": [("x bad", "1")]})]})
s.case("grpc: a denied field that cannot be", get("/"), upstream={"auth": [reply(code=7, denied={"status": 403, "headers": [("x-bad", "a\nb")]})]})
s = over_grpc("grpc allowed list", allowed_headers=exact("x-in", ":path"), disallowed_headers=exact("x-not"))
s.case("grpc: allowed headers", get("/p", [("x-in", "1"), ("x-not", "2"), ("x-other", "3")]), upstream={"auth": [reply(ok={})]})
s = over_grpc("grpc raw", with_request_body={"max_request_bytes": 100, "pack_as_bytes": True})
s.case("grpc: the body as bytes", post("/", b"\x00\xff"), upstream={"auth": [reply(ok={})]})
s = over_grpc("grpc rules", decoder_header_mutation_rules={"disallow_expression": {"regex": "x-no.*"}})
s.case("grpc: mutation rules", get("/", [("x-no-2", "a")]), upstream={"auth": [reply(ok={"headers": [("x-no", "1"), ("x-yes", "1"), ("x-envoy-a", "1")], "remove": ["x-no-2"]})]})
s = over_grpc("grpc strict rules", decoder_header_mutation_rules={"disallow_expression": {"regex": "x-no.*"}, "disallow_is_error": True})
s.case("grpc: strict mutation rules", get("/"), upstream={"auth": [reply(ok={"headers": [("x-no", "1")]})]})
s = setup("http more", http_fields={"authorization_response": {"allowed_upstream_headers_to_append": exact("x-more"), "dynamic_metadata_from_headers": exact("x-meta"), "allowed_client_headers_on_success": exact("x-two")}})
s.case("http: append to nothing", get("/"), upstream={"auth": [answer(200, ("x-more", "new"), ("x-meta", "m"), ("x-two", "1"), ("x-two", "2"), body=b"")]})
s.case("http: headers to remove", get("/", [("x-a", "1"), ("x-b", "2")]), upstream={"auth": [answer(200, ("x-envoy-auth-headers-to-remove", "x-a, x-b"), body=b"")]})
s.case("http: denied for gRPC", get("/", [("content-type", "application/grpc")]), upstream={"auth": [answer(401, body=b"who?")]})
s = setup("http retries", http_fields={"retry_policy": {"retry_on": "5xx", "num_retries": 1, "retry_back_off": {"base_interval": "0.01s"}}})
s.case("http: the second try", get("/"), upstream={"auth": [answer(503), OK]}, ignore=["upstream.*.headers.x-envoy-expected-rq-timeout-ms"])


def over_tcp(name, *, http2=("auth",), **fields):
    door = network_filter("envoy.filters.network.ext_authz", "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz", stat_prefix="door", grpc_service={"envoy_grpc": {"cluster_name": "auth"}, "timeout": "0.5s"}, transport_api_version="V3", **fields)
    return GROUP.setup(name, bootstrap([listener(chain(door, tcp_proxy(cluster="t")))], [cluster("t"), cluster("auth", list(http2), http2=True)]), stats=["ext_authz.*"],
        upstreams={"t": Upstream(kind="tcp"), "auth": Upstream(kind="http2", decode="envoy.service.auth.v3.external_auth_pb2:CheckRequest")},
        ignore=["upstream.*.messages.*.attributes.source.address*", "upstream.*.headers.user-agent", "log.*.client"])


s = over_tcp("network")
s.case("network grpc: allowed", TCP(b"hello", ("read", 5), "close"), upstream={"auth": [reply()]})
s.case("network grpc: denied", TCP(b"hello", "read-all"), upstream={"auth": [reply(code=7)]})
s.case("network grpc: the call fails", TCP(b"hello", "read-all"), upstream={"auth": [reply(grpc_status=14)]})
s.case("network grpc: the call hangs", TCP(b"hello", "read-all"), upstream={"auth": [answer(hang=True)]})
s = over_tcp("network open", failure_mode_allow=True)
s.case("network grpc: the call fails, open", TCP(b"hello", ("read", 5), "close"), upstream={"auth": [reply(grpc_status=14)]})
s = over_tcp("network down", http2=("dead",))
s.case("network grpc: service down", TCP(b"hello", "read-all"))
MANY = [(f"x-{n}", "1") for n in range(120)]
for enforced in (False, True):
    s = setup(f"limits {enforced}", enforce_response_header_limits=enforced, http_fields={"authorization_response": {"allowed_client_headers_on_success": {"patterns": [{"prefix": "x-"}]}}})
    s.case(f"response limits {enforced}: allowed with many fields", get("/"), upstream={"auth": [answer(200, *MANY, body=b"")]})
    s.case(f"response limits {enforced}: denied with many fields", get("/"), upstream={"auth": [answer(403, *MANY[:90], body=b"no")]})


s = setup("path override", http_fields={"path_override": "/auth/hello?x=1"})
s.case("path override: allowed", get("/p?q=1"), upstream={"auth": [OK]})
s.case("path override: denied", post("/p", b"x"), upstream={"auth": [NO]})

SHADOW = [access_log({**LOG_FORMAT, "plain": f"%FILTER_STATE({NAME}.shadow:PLAIN)%", "typed": f"%FILTER_STATE({NAME}.shadow:TYPED)%"})]


def shadow(name, auth=("auth",), **fields):
    return GROUP.setup(f"shadow {name}", http([route("/", "a")], [cluster("a"), cluster("auth", list(auth))], access_log=SHADOW, filters=[http_filter(NAME, AUTHZ, **{**over_http(authorization_response={"allowed_upstream_headers": exact("x-auth"), "allowed_client_headers": exact("x-reason", "x-more")}), "shadow_mode": True, **fields})]), stats=STATS)


for name, fields in (("", {}), ("open", {"failure_mode_allow": True, "failure_mode_allow_header_add": True}), ("status on error", {"status_on_error": {"code": "ServiceUnavailable"}})):
    s = shadow(name, **fields)
    for case, given in (("allowed", OK), ("denied", NO), ("denied with two values", answer(401, ("x-more", "1"), ("x-more", "2"), body=b"no")), ("a redirect", answer(302, ("location", "http://login.test/"), body=b"")), ("503", answer(503, body=b"oops")), ("hangs", answer(hang=True))):
        s.case(f"shadow {name}: {case}", get("/p"), upstream={"auth": [given]})
s = shadow("disabled", filter_enabled={"default_value": {"numerator": 0}, "runtime_key": "x"}, deny_at_disable={"default_value": True, "runtime_key": "y"})
s.case("shadow: denied while disabled", get("/"))
