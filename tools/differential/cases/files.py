"""What the files of other people's meshes and gateways have: names for metrics, numbers that stand for text, bodies that are no text."""
import base64

import yaml

from client import get
from config import LOG_FORMAT, access_log, add, cluster, http, http_filter, redirect, respond, route, typed
from model import Group, answer

GROUP = Group("files")
X = "envoy.extensions.filters.http."

LOG = [access_log({**LOG_FORMAT, "raw": "%UPSTREAM_CLUSTER_RAW%"})]
s = GROUP.setup("alt_stat_name", http([route("/b", "b"), route("/c", "c"), route("/none", "nobody"), route("/dead", "down"), route("/", "a")], [
    cluster("a", alt_stat_name="one.name"), cluster("b", alt_stat_name="one.name"), cluster("c"), cluster("down", ["dead"], alt_stat_name="gone")], access_log=LOG, route_config={"validate_clusters": False}), stats=["cluster.*.membership_total", "cluster.*.upstream_cx_connect_fail"])
for path in ("/a", "/b", "/c", "/none", "/dead"):
    s.case(f"alt_stat_name: {path}", get(path))
s.case("alt_stat_name: two clusters count as one", get("/a"), get("/b"))

s = GROUP.setup("long names of formats", http([route("/", "a", request_headers_to_add=[add("x-copy", "%REQUEST_HEADER(x-in?:path):3%")], response_headers_to_add=[add("x-back", "%RESPONSE_HEADER(x-up)%")])],
    access_log=[access_log({**LOG_FORMAT, "in": "%REQUEST_HEADER(x-in)%", "out": "%RESPONSE_HEADER(x-up)%", "last": "%RESPONSE_TRAILER(x-last)%"})]))
s.case("long names of formats", get("/path", [("x-in", "hello")]), upstream=answer(200, ("x-up", "1")))
s.case("long names of formats: nothing there", get("/path"))

QUIET = {"name": "envoy.filters.http.router", "typed_config": typed(X + "router.v3.Router", suppress_envoy_headers=True)}
s = GROUP.setup("redirects without x-envoy", http([route("/old", action=redirect(prefix_rewrite="/new"))], router=QUIET))
s.case("redirect without x-envoy headers", get("/old/x?a=b"))

PICTURE = bytes(range(256))
FORMAT = {"text_format_source": {"inline_bytes": base64.b64encode(PICTURE.replace(b"%", b"%%")).decode()}, "content_type": "image/png"}
s = GROUP.setup("own answers", http([route("/picture", action={"direct_response": {"status": 200, "body_format": FORMAT}}),
    route("/bytes", action={"direct_response": {"status": 200, "body": {"inline_bytes": base64.b64encode(PICTURE).decode()}}}), *(route(f"/{code}", action=respond(code)) for code in (226, 305, 423, 424, 506, 508, 510, 511))]))
for path in ("/picture", "/bytes", "/226", "/305", "/423", "/424", "/506", "/508", "/510", "/511"):
    s.case(f"own answer of {path}", get(path))

CONFIG = X + "set_metadata.v3.Config"
SHOWN = [add(f"x-{n}", f"%DYNAMIC_METADATA({n})%") for n in ("one", "two", "old")]
s = GROUP.setup("set_metadata", http([
    route("/route", "a", request_headers_to_add=SHOWN, typed_per_filter_config={"sm": typed(CONFIG, metadata=[
        {"metadata_namespace": "one", "value": {"k": "route"}}, {"metadata_namespace": "two", "allow_overwrite": True, "value": {"list": [3], "t": {"deep": {"b": "2"}}, "s": 7}}])}),
    route("/", "a", request_headers_to_add=SHOWN)],
    filters=[http_filter("sm", CONFIG, metadata_namespace="old", value={"k": "v"}, metadata=[
        {"metadata_namespace": "one", "value": {"k": "first"}}, {"metadata_namespace": "one", "value": {"k": "second"}},
        {"metadata_namespace": "two", "value": {"list": [1], "t": {"deep": {"a": "1"}}, "s": "x"}}, {"metadata_namespace": "two", "allow_overwrite": True, "value": {"list": [2]}}])]), stats=["http.ingress.set_metadata.*"])
s.case("set_metadata of the filter", get("/"))
s.case("set_metadata of the route", get("/route"))

# As a file of YAML: a fraction is text there, a whole number is a number.
NUMBERS = http([route("/", "a", metadata={"filter_metadata": {"n": {"fraction": 0.5, "whole": 7, "power": "<power>"}}}, request_headers_to_add=[
    add(f"x-{key}", f"%METADATA(ROUTE:n:{key})%") for key in ("fraction", "whole", "power")])])
s = GROUP.setup("numbers of YAML", yaml.safe_dump(NUMBERS).replace("<power>", "7e5"))
s.case("numbers of YAML", get("/"))

PREFIXED = http([route("/", "a")])
PREFIXED["static_resources"]["listeners"][0]["stat_prefix"] = "in:bound"
s = GROUP.setup("stat_prefix of a listener", PREFIXED, stats=["listener.in_bound.downstream_cx_total", "listener.in_bound.http.ingress.*", "listener.127*"])
s.case("stat_prefix of a listener", get("/"))
