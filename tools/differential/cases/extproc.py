"""ext_proc: a processor over a gRPC stream."""
from client import Request, get, post
from config import cluster, http, http_filter, route, typed
from model import Answer, Group, Upstream, answer

GROUP = Group("extproc")
NAME, PROCESSOR = "envoy.filters.http.ext_proc", "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
PER_ROUTE = "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
STATS = ["http.ingress.ext_proc.*"]


def setup(name, *, routes=None, hosts=("processor",), **fields):
    return GROUP.setup(name, http(routes or [route("/", "a")], [cluster("a"), cluster("processor", list(hosts), http2=True)], filters=[http_filter(NAME, PROCESSOR, **{
        "grpc_service": {"envoy_grpc": {"cluster_name": "processor"}}, "message_timeout": "0.5s", **fields})]), stats=STATS,
        upstreams={"processor": Upstream(kind="http2", decode="envoy.service.ext_proc.v3.external_processor_pb2:ProcessingRequest", default=dialog())},
        # The order of fields of different names, ids, dates, and how the stream to the processor ends.
        ignore=["upstream.*.messages.*.*_headers.headers", "upstream.*.headers.user-agent", "upstream.*.headers.x-forwarded-for", "upstream.*.reset", "upstream.*.messages.*.metadata_context", "stats.cluster.processor.*"])


def dialog(**parts):
    """`part=function(common or trailers answer, request part)`; a number ends the stream with that status, None says nothing."""
    def reply(message):
        from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
        request = pb.ProcessingRequest.FromString(message)
        part = request.WhichOneof("request")
        response = pb.ProcessingResponse()
        getattr(response, part).SetInParent()
        change = parts.get(part, lambda *_: ())
        if change is None or isinstance(change, int):
            return change
        target = getattr(response, part)
        given = change(target if part.endswith("trailers") else target.response, getattr(request, part), response)
        return given if isinstance(given, (bytes, int)) else response.SerializeToString()
    return Answer(dialog=reply)


def put(*fields, remove=(), action=None, append=None):
    def change(common, *_):
        for key, value in fields:
            option = common.header_mutation.set_headers.add()
            option.header.key, option.header.raw_value = key, value.encode()
            if action is not None:
                option.append_action = action
            if append is not None:
                option.append.value = append
        common.header_mutation.remove_headers.extend(remove)
    return change


def body(new=None, *fields, clear=False):
    def change(common, part, *_):
        put(*fields)(common)
        if clear:
            common.body_mutation.clear_body = True
        else:
            common.body_mutation.body = new(part.body) if callable(new) else new
    return change


def immediate(status, text="", headers=(), details="", grpc=None):
    def change(_, __, response):
        response.immediate_response.status.code = status
        response.immediate_response.body = text.encode()
        response.immediate_response.details = details
        for key, value in headers:
            option = response.immediate_response.headers.set_headers.add()
            option.header.key, option.header.raw_value = key, value.encode()
        if grpc is not None:
            response.immediate_response.grpc_status.status = grpc
        return response.SerializeToString()
    return change


def on(*answers):
    return {"processor": list(answers)}


UPPER = body(lambda data: data.upper())
s = setup("heads")
s.case("nothing changes", get("/p?q=1", [("x-in", "1")]), upstream=on(dialog()))
s.case("heads change", get("/", [("x-secret", "s")]), upstream=on(dialog(request_headers=put(("x-new", "1"), remove=["x-secret"]), response_headers=put(("x-out", "2"), remove=["server", "content-type"]))))
s.case("a field that is there: default action", get("/", [("x-there", "old")]), upstream=on(dialog(request_headers=put(("x-there", "new")))))
s.case("a field that is there: append true", get("/", [("x-there", "old")]), upstream=on(dialog(request_headers=put(("x-there", "new"), append=True))))
s.case("a field that is there: append false", get("/", [("x-there", "old")]), upstream=on(dialog(request_headers=put(("x-there", "new"), append=False))))
for action in (1, 2, 3):
    s.case(f"a field that is there: action {action}", get("/", [("x-there", "old")]), upstream=on(dialog(request_headers=put(("x-there", "new"), ("x-not-there", "new"), action=action))))
s.case("path and host", get("/old"), upstream=on(dialog(request_headers=put((":path", "/new"), ("host", "other"), (":method", "POST"), action=2))))
s.case("x-envoy fields are guarded", get("/"), upstream=on(dialog(request_headers=put(("x-envoy-mine", "1"), ("x-mine", "1"), remove=["host", ":path"]))))
s.case("status", get("/"), upstream=on(dialog(response_headers=put((":status", "201"), action=2))))
s.case("immediate", get("/"), upstream=on(dialog(request_headers=immediate(403, "no", [("x-why", "because")]))))
s.case("immediate with details", get("/"), upstream=on(dialog(request_headers=immediate(401, "no", details="not today"))))
s.case("immediate for gRPC", get("/", [("content-type", "application/grpc")]), upstream=on(dialog(request_headers=immediate(403, "no", grpc=7))))
s.case("immediate after the upstream's answer", get("/"), upstream=on(dialog(response_headers=immediate(500, "late"))))
s.case("the stream fails", get("/"), upstream=on(dialog(request_headers=14)))
s.case("the stream ends", get("/"), upstream=on(dialog(request_headers=0)))
s.case("the stream fails at the response", get("/"), upstream=on(dialog(response_headers=13)))
s.case("silence", get("/"), upstream=on(dialog(request_headers=None)))
s.case("silence at the response", get("/"), upstream=on(dialog(response_headers=None)))
s.case("another answer than asked for", get("/"), upstream=on(dialog(request_headers=lambda _, __, response: (response.response_headers.SetInParent(), response.SerializeToString())[1])))
s.case("POST without its body", post("/", b"secret"), upstream=on(dialog()))
s.case("HEAD", Request("HEAD", "/"), upstream=on(dialog()))
s.case("the body is replaced with the head", post("/", b"old body"), upstream=on(dialog(request_headers=lambda common, *_: (setattr(common, "status", 1), setattr(common.body_mutation, "body", b"new"))[0])))
s = setup("buffered", processing_mode={"request_body_mode": "BUFFERED", "response_body_mode": "BUFFERED"})
s.case("buffered: nothing changes", post("/", b"hello"), upstream=on(dialog()))
s.case("buffered: bodies change", post("/", b"hello"), upstream=on(dialog(request_body=UPPER, response_body=body(b"short"))))
s.case("buffered: cleared", post("/", b"hello"), upstream=on(dialog(request_body=body(clear=True))))
s.case("buffered: heads change with bodies", post("/", b"hello"), upstream=on(dialog(request_body=body(b"x", ("x-late", "1")), response_body=body(b"y", ("x-later", "2")))))
WITHOUT = put(remove=["content-length"])
s.case("collected: heads without a length", post("/", b"hello"), upstream=on(dialog(request_headers=WITHOUT, response_headers=WITHOUT, request_body=UPPER, response_body=body(b"short"))))
s.case("collected: cleared without a length", post("/", b"hello"), upstream=on(dialog(request_headers=WITHOUT, request_body=body(clear=True))))
s.case("buffered: immediate at the body", post("/", b"hello"), upstream=on(dialog(request_body=immediate(403, "no"))))
s.case("buffered: no body", get("/"), upstream=on(dialog()))
s = setup("streamed", processing_mode={"request_body_mode": "STREAMED", "response_body_mode": "STREAMED"})
s.case("streamed: bodies change", post("/", b"hello"), upstream=on(dialog(request_body=UPPER, response_body=UPPER)), ignore=["upstream.0.messages", "stats.http.ingress.ext_proc.stream_msgs*"])
s = setup("skip", processing_mode={"request_header_mode": "SKIP", "response_header_mode": "SKIP", "request_body_mode": "BUFFERED"})
s.case("only the body", post("/", b"hello"), upstream=on(dialog(request_body=UPPER)))
s.case("only the body, and there is none", get("/"), upstream=on(dialog()))
s = setup("open", failure_mode_allow=True)
s.case("open: the stream fails", get("/"), upstream=on(dialog(request_headers=14)))
s.case("open: silence", get("/"), upstream=on(dialog(request_headers=None)))
s.case("open: another answer", get("/"), upstream=on(dialog(request_headers=lambda _, __, response: (response.response_headers.SetInParent(), response.SerializeToString())[1])))
s = setup("down", hosts=("dead",))
s.case("processor down", get("/"))
s = setup("override", allow_mode_override=True)
s.case("mode override", post("/", b"hello"), upstream=on(dialog(request_headers=lambda _, __, response: (setattr(response.mode_override, "request_body_mode", 2), setattr(response.mode_override, "response_header_mode", 2))[0], request_body=UPPER)))
s = setup("no override")
s.case("mode override not allowed", post("/", b"hello"), upstream=on(dialog(request_headers=lambda _, __, response: setattr(response.mode_override, "request_body_mode", 2))))
s = setup("attributes", request_attributes=["request.path", "request.method", "request.host"], response_attributes=["response.code"])
s.case("attributes", get("/p?q=1"), upstream=on(dialog()))
s = setup("rules", mutation_rules={"disallow_expression": {"regex": "x-no.*"}, "allow_envoy": True, "allow_all_routing": True})
s.case("rules", get("/"), upstream=on(dialog(request_headers=put(("x-no", "1"), ("x-envoy-yes", "1"), ("host", "other"), action=2))))
s = setup("strict rules", mutation_rules={"disallow_expression": {"regex": "x-no.*"}, "disallow_is_error": True})
s.case("strict rules", get("/"), upstream=on(dialog(request_headers=put(("x-no", "1"), ("x-yes", "1")))))
s = setup("per route", routes=[route("/off", "a", typed_per_filter_config={NAME: typed(PER_ROUTE, disabled=True)}),
    route("/skip", "a", typed_per_filter_config={NAME: typed(PER_ROUTE, overrides={"processing_mode": {"request_header_mode": "SKIP", "response_header_mode": "SEND"}})}), route("/", "a")])
s.case("per route: off", get("/off"), upstream=on(dialog(request_headers=14)))
s.case("per route: another mode", get("/skip"), upstream=on(dialog(response_headers=put(("x-out", "1")))))


def duplex(piece=None):
    """A processor that answers each piece of a body with one of its own, or with the same in capitals."""
    def reply(message):
        from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
        request = pb.ProcessingRequest.FromString(message)
        part = request.WhichOneof("request")
        response = pb.ProcessingResponse()
        getattr(response, part).SetInParent()
        if part.endswith("body"):
            body = getattr(request, part)
            out = getattr(response, part).response.body_mutation.streamed_response
            out.body, out.end_of_stream = body.body.upper() if piece is None else piece, body.end_of_stream
        return response.SerializeToString()
    return Answer(dialog=reply)


DUPLEX = {"request_body_mode": "FULL_DUPLEX_STREAMED", "request_trailer_mode": "SEND", "response_body_mode": "FULL_DUPLEX_STREAMED", "response_trailer_mode": "SEND"}
PIECES = ["upstream.0.messages", "stats.http.ingress.ext_proc.stream_msgs*"]
# The head has gone on, and whether a connection was there when the processor failed is a matter of time; the empty metadata_context.
RACE = PIECES + ["upstream.1", "upstream.0.body", "log.0.attempts", "log.0.host", "stats.cluster.a.*", "stats.http.ingress.rq_total"]
s = setup("duplex", processing_mode=DUPLEX)
s.case("full duplex: bodies change", post("/", b"hello"), upstream=on(duplex()), ignore=PIECES)
s.case("full duplex: no body", get("/"), upstream=on(duplex()), ignore=PIECES)
s.case("full duplex: chunked", post("/", b"hello", chunked=True), upstream=on(duplex()), ignore=PIECES)
s.case("full duplex: a length that is another's", post("/", b"hello"), upstream=on(duplex(b"something longer")), ignore=PIECES)
s.case("full duplex: the stream fails at the body", post("/", b"hello"), upstream=on(dialog(request_body=14)), ignore=RACE)
s.case("full duplex: an answer that is no piece", post("/", b"hello"), upstream=on(dialog(request_body=UPPER)), ignore=RACE)
s = setup("duplex open", processing_mode=DUPLEX, failure_mode_allow=True)
s.case("full duplex, open: the stream fails at the body", post("/", b"hello"), upstream=on(dialog(request_body=14)), ignore=RACE)
s.case("full duplex, open: the stream fails at the head", get("/"), upstream=on(dialog(request_headers=14)), ignore=PIECES)
s.case("full duplex, open: the stream ends at the body", post("/", b"hello"), upstream=on(dialog(request_body=0)), ignore=RACE)

RETRY = {"envoy_grpc": {"cluster_name": "processor"}, "retry_policy": {"num_retries": 2, "retry_on": "5xx,unavailable,internal", "retry_back_off": {"base_interval": "0.02s", "max_interval": "0.05s"}}}
# What is answered before it is read is shown as bytes, with the request id in it.
AGAIN = ["upstream.*.body"]
s = setup("retries", grpc_service=RETRY, processing_mode={"response_header_mode": "SKIP"}, message_timeout="5s")
for name, first in (("unavailable", dialog(request_headers=14)), ("503", answer(503)), ("reset", Answer(reset_code=2)), ("a status that is not tried again", dialog(request_headers=3))):
    s.case(f"stream is begun again: {name}", get("/"), upstream={"processor": [first, dialog()]}, ignore=AGAIN)
s.case("stream is begun again: three times is too often", get("/"), upstream={"processor": [answer(503)] * 3}, ignore=AGAIN)
