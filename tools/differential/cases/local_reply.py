"""What the proxy itself answers, and how local_reply_config changes it."""
from client import Raw, Request, get
from config import cluster, http, respond, route
from model import Group, answer

GROUP = Group("local_reply")
ROUTES = [route("/refused", "dead-cluster"), route("/reset", "a"), route("/timeout", "a", timeout="0.2s"), route("/empty-cluster", "empty"), route("/direct", action=respond(403, "no"))]
CLUSTERS = [cluster("a"), cluster("dead-cluster", ["dead"]), cluster("empty", localities=[])]
CASES = [("no route", "/x", []), ("connection refused", "/refused", []), ("no host", "/empty-cluster", []), ("reset", "/reset", [answer(reset="before")]),
         ("closed", "/reset", [answer(reset="close")]), ("timeout", "/timeout", [answer(hang=True)]), ("direct response", "/direct", []), ("upstream's own 503", "/reset", [answer(503, body=b"mine")])]
GRPC = [("content-type", "application/grpc")]


def filter_of(code, operator="EQ"):
    return {"status_code_filter": {"comparison": {"op": operator, "value": {"default_value": code, "runtime_key": "x"}}}}


for title, config in [
    ("plain", {}),
    ("body format", {"local_reply_config": {"body_format": {"text_format_source": {"inline_string": "<%RESPONSE_CODE%> %LOCAL_REPLY_BODY% %REQ(:PATH)% %RESPONSE_FLAGS%\n"}, "content_type": "text/html; charset=UTF-8"}}}),
    ("json format", {"local_reply_config": {"body_format": {"json_format": {"code": "%RESPONSE_CODE%", "message": "%LOCAL_REPLY_BODY%", "path": "%REQ(:PATH)%", "why": "%RESPONSE_CODE_DETAILS%"}}}}),
    ("mappers", {"local_reply_config": {"mappers": [
        {"filter": filter_of(404), "status_code": 410, "body": {"inline_string": "gone"}},
        {"filter": {"response_flag_filter": {"flags": ["UH"]}}, "status_code": 599, "headers_to_add": [{"header": {"key": "x-why", "value": "no host"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]},
        {"filter": {"and_filter": {"filters": [filter_of(500, "GE"), {"header_filter": {"header": {"name": ":path", "string_match": {"prefix": "/timeout"}}}}]}}, "body": {"inline_string": "late"},
         "body_format_override": {"text_format_source": {"inline_string": "%LOCAL_REPLY_BODY% (%RESPONSE_CODE%)"}}},
        {"filter": filter_of(500, "GE"), "status_code": 500, "body_format_override": {"json_format": {"oops": "%LOCAL_REPLY_BODY%"}}},
    ]}}),
]:
    s = GROUP.setup(title, http(ROUTES, CLUSTERS, **config))
    for name, path, script in CASES:
        s.case(f"{title}: {name}", get(path), upstream=script)
    s.case(f"{title}: HEAD", Request("HEAD", "/x"))
    s.case(f"{title}: grpc without route", get("/x", GRPC))
    s.case(f"{title}: grpc and refused", get("/refused", GRPC))
    s.case(f"{title}: malformed request", Raw(b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n"))

s = GROUP.setup("large circuit", http([route("/", "a")], [cluster("a", circuit_breakers={"thresholds": [{"max_requests": 0}]})]))
s.case("no requests allowed", get("/"))
s = GROUP.setup("pending", http([route("/", "a")], [cluster("a", circuit_breakers={"thresholds": [{"max_pending_requests": 0}]})]))
s.case("no pending requests allowed", get("/"))
s = GROUP.setup("connections", http([route("/", "a")], [cluster("a", circuit_breakers={"thresholds": [{"max_connections": 0}]})]), stats=["cluster.a.upstream_cx_overflow"])
s.case("no connections allowed", get("/"))
s = GROUP.setup("maintenance", http([route("/", "a")], [cluster("a", circuit_breakers={"thresholds": [{"priority": "HIGH", "max_requests": 0}]})]))
s.case("the other priority's limit", get("/"))
s = GROUP.setup("drop", http([route("/", "a")], [cluster("a", load_assignment={"cluster_name": "a", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": "$port:a"}}}}]}],
    "policy": {"drop_overloads": [{"category": "all", "drop_percentage": {"numerator": 100}}]}})]))
s.case("drop overload", get("/"))
