"""What a case is: a setup (one configuration, several upstream servers) and the steps of a client, with what is compared."""
import fnmatch
from dataclasses import dataclass, field
from typing import Any, Callable

# Counters whose change during a case is compared, besides those that a case names.
COMMON_STATS = [
    "http.ingress.downstream_rq_[1-5]xx", "http.ingress.downstream_rq_completed", "http.ingress.downstream_rq_total",
    "http.ingress.downstream_rq_timeout", "http.ingress.no_route", "http.ingress.no_cluster", "http.ingress.rq_total",
    "http.ingress.rq_redirect", "http.ingress.rq_direct_response",
    "cluster.*.upstream_rq_total", "cluster.*.upstream_rq_completed", "cluster.*.upstream_rq_[1-5]xx",
    "cluster.*.upstream_rq_[1-5][0-9][0-9]", "cluster.*.upstream_rq_retry", "cluster.*.upstream_rq_retry_success",
    "cluster.*.upstream_rq_retry_limit_exceeded", "cluster.*.upstream_rq_retry_overflow", "cluster.*.upstream_rq_timeout",
    "cluster.*.upstream_rq_per_try_timeout", "cluster.*.upstream_rq_pending_overflow",
    "cluster.*.upstream_cx_connect_fail", "cluster.*.upstream_cx_none_healthy",
]


@dataclass
class Answer:
    """What an upstream server does with one request."""

    status: int = 200
    headers: list = field(default_factory=list)
    body: bytes | None = None  # None: "hello from NAME"
    trailers: list | None = None
    chunked: bool = False
    delay: float = 0.0  # before the head
    body_delay: float = 0.0  # between the head and the body
    pieces: list | None = None  # body in several writes: bytes, or a number of seconds to wait
    interim: list = field(default_factory=list)  # [(status, headers)]
    raw: bytes | None = None  # verbatim instead of all the above
    reset: str | None = None  # "before", "head" (after the head), "body" (in the body): RST; "close": an orderly end before an answer
    close: bool = False  # `connection: close` and an orderly end afterwards
    hang: bool = False  # no answer until the peer goes away
    early: bool = False  # answers before the request's body was read
    tunnel: bool = False  # after the head everything is echoed
    grpc: Callable | None = None  # HTTP/2: (request body) -> (messages, status, message)
    dialog: Callable | None = None  # HTTP/2: a gRPC stream; (message) -> message, None (nothing is said) or a status that ends it
    reset_code: int | None = None  # HTTP/2: RST_STREAM with this code instead of an answer


def answer(status=200, *headers, **options) -> Answer:
    return Answer(status=status, headers=list(headers), **options)


@dataclass
class Upstream:
    """One server. `kind`: http1, http2, tcp, udp."""

    kind: str = "http1"
    tls: dict | None = None  # certificate, and optionally client_ca, alpn
    default: Answer | None = None
    decode: str | None = None  # HTTP/2: protobuf message of the requests, `module:Message`, compared as JSON
    script: list = field(default_factory=list)  # tcp: what a connection does (see upstreams.py)
    record: bool = True
    unhealthy: bool = False  # how its health check answers at the start
    proxy_protocol: bool = False  # the connection starts with a PROXY header, which is recorded


@dataclass
class Case:
    name: str
    setup: "Setup"
    steps: list
    upstream: dict = field(default_factory=dict)  # host name or "*" -> [Answer]
    stats: list = field(default_factory=list)
    ignore: list = field(default_factory=list)  # paths (globs) that are not compared: what differs between two runs of one proxy
    logs: int | None = None  # log lines to wait for; None: as many as there were requests
    fresh: bool = False  # the case starts its own pair of proxies

    @property
    def id(self) -> str:
        return f"{self.setup.group}/{self.name}"


@dataclass
class Setup:
    """One configuration and its cases."""

    group: str
    name: str
    config: Any  # a dict, or YAML text; `$port:NAME`, `$dir` and `$certs` are filled in
    upstreams: dict = field(default_factory=dict)
    cases: list = field(default_factory=list)
    stats: list = field(default_factory=list)
    ignore: list = field(default_factory=list)
    ready: list = field(default_factory=list)  # steps before the first case, not compared
    arguments: list = field(default_factory=list)
    refused: bool = False  # both proxies have to refuse the configuration

    def case(self, name, *steps, upstream=None, **options) -> Case:
        if isinstance(upstream, (list, tuple)):
            upstream = {"*": list(upstream)}
        elif isinstance(upstream, Answer):
            upstream = {"*": [upstream]}
        case = Case(name=name, setup=self, steps=list(steps), upstream=upstream or {}, **options)
        self.cases.append(case)
        return case


class Group:
    """The setups of one file in cases/."""

    def __init__(self, name: str):
        self.name = name
        self.setups: list[Setup] = []

    def setup(self, name: str, config, **options) -> Setup:
        setup = Setup(group=self.name, name=name, config=config, **options)
        self.setups.append(setup)
        return setup


def matches(name: str, patterns) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
