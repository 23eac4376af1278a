"""Builds Envoy bootstraps from little: helpers that return plain dictionaries."""

LOG_FORMAT = {
    "method": "%REQ(:METHOD)%", "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "authority": "%REQ(:AUTHORITY)%",
    "protocol": "%PROTOCOL%", "code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%", "route": "%ROUTE_NAME%", "cluster": "%UPSTREAM_CLUSTER%",
    "host": "%UPSTREAM_HOST%", "received": "%BYTES_RECEIVED%", "sent": "%BYTES_SENT%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "termination": "%CONNECTION_TERMINATION_DETAILS%", "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
}
TCP_LOG_FORMAT = {
    "flags": "%RESPONSE_FLAGS%", "cluster": "%UPSTREAM_CLUSTER%", "host": "%UPSTREAM_HOST%",
    "received": "%BYTES_RECEIVED%", "sent": "%BYTES_SENT%", "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "termination": "%CONNECTION_TERMINATION_DETAILS%", "details": "%RESPONSE_CODE_DETAILS%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "sni": "%REQUESTED_SERVER_NAME%",
}
TYPE = "type.googleapis.com/"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def typed(message: str, **fields) -> dict:
    return {"@type": TYPE + message, **fields}


def address(port: str, host="127.0.0.1") -> dict:
    return {"socket_address": {"address": host, "port_value": f"$port:{port}"}}


def access_log(format=LOG_FORMAT, **extra) -> dict:
    return {"name": "envoy.access_loggers.file", **extra, "typed_config": typed(
        "envoy.extensions.access_loggers.file.v3.FileAccessLog", path="$dir/access.log",
        log_format={"json_format": dict(format)})}


def match(prefix=None, path=None, regex=None, **more) -> dict:
    if path is not None:
        more["path"] = path
    elif regex is not None:
        more["safe_regex"] = {"regex": regex}
    elif prefix is not None:
        more["prefix"] = prefix
    return more


def route(prefix=None, cluster=None, *, path=None, regex=None, matcher=None, name=None, action=None, **fields) -> dict:
    """A route to a cluster. Fields of the route itself are given by `route_…`-less names listed in OUTER, others are RouteAction's."""
    out = {"match": match(prefix, path, regex, **(matcher or {}))}
    if name:
        out["name"] = name
    inner = {}
    for key, value in fields.items():
        (out if key in OUTER else inner)[key] = value
    if action is not None:
        out.update(action)
    else:
        if cluster is not None:
            inner["cluster"] = cluster
        out["route"] = inner
    return out


OUTER = {
    "request_headers_to_add", "request_headers_to_remove", "response_headers_to_add", "response_headers_to_remove",
    "typed_per_filter_config", "metadata", "decorator", "per_request_buffer_limit_bytes", "stat_prefix",
    "request_body_buffer_limit",
}


def respond(status=200, body=None) -> dict:
    out = {"status": status}
    if body is not None:
        out["body"] = {"inline_string": body}
    return {"direct_response": out}


def redirect(**fields) -> dict:
    return {"redirect": fields}


def vhost(name="all", domains=("*",), routes=(), **fields) -> dict:
    return {"name": name, "domains": list(domains), "routes": list(routes), **fields}


def add(key, value, action=None, **more) -> dict:
    out = {"header": {"key": key, "value": value}, **more}
    if action:
        out["append_action"] = action
    return out


ROUTER = {"name": "envoy.filters.http.router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router")}


def http_filter(name, message, disabled=None, **fields) -> dict:
    out = {"name": name, "typed_config": typed(message, **fields)}
    if disabled is not None:
        out["disabled"] = disabled
    return out


def hcm(routes=None, vhosts=None, filters=(), route_config=None, router=ROUTER, log=True, **fields) -> dict:
    """An HTTP connection manager as a network filter."""
    table = {"name": "local", "virtual_hosts": list(vhosts) if vhosts is not None else [vhost(routes=routes or [])]}
    table.update(route_config or {})
    out = typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager")
    out["stat_prefix"] = fields.pop("stat_prefix", "ingress")
    if "rds" not in fields and "scoped_routes" not in fields:
        out["route_config"] = table
    out["http_filters"] = [*filters, router]
    if log and "access_log" not in fields:
        out["access_log"] = [access_log()]
    out.update(fields)
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": out}


def network_filter(name, message, **fields) -> dict:
    return {"name": name, "typed_config": typed(message, **fields)}


def tcp_proxy(cluster=None, log=True, **fields) -> dict:
    out = {"stat_prefix": "tcp", **fields}
    if cluster:
        out["cluster"] = cluster
    if log:
        out["access_log"] = [access_log(TCP_LOG_FORMAT)]
    return network_filter("envoy.filters.network.tcp_proxy", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", **out)


def chain(*filters, tls=None, **fields) -> dict:
    out = {"filters": list(filters), **fields}
    if tls is not None:
        out["transport_socket"] = tls
    return out


def listener(*chains, name="main", host="127.0.0.1", **fields) -> dict:
    """A listener of filter chains; a filter alone is a chain with it."""
    made = [item if "filters" in item else chain(item) for item in chains]
    return {"name": name, "address": address(name, host), "filter_chains": made, **fields}


def downstream_tls(certificates=("server",), **fields) -> dict:
    common = {"tls_certificates": [certificate(name) for name in certificates]}
    common.update(fields.pop("common", {}))
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context=common, **fields)}


def upstream_tls(**fields) -> dict:
    common = fields.pop("common", {})
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed(
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context=common, **fields)}


def certificate(name) -> dict:
    return {"certificate_chain": {"filename": f"$certs/{name}.pem"}, "private_key": {"filename": f"$certs/{name}.key"}}


def endpoint(name, **fields) -> dict:
    """An endpoint on the upstream server of this name."""
    inner = {"address": address(name)}
    for key in ("health_check_config", "hostname"):
        if key in fields:
            inner[key] = fields.pop(key)
    return {"endpoint": inner, **fields}


def cluster(name, hosts=None, localities=None, http2=False, protocol=None, tls=None, **fields) -> dict:
    """A static cluster; its hosts are names of upstream servers (or dictionaries of `endpoint`)."""
    out = {"name": name, "type": "STATIC", "connect_timeout": "1s"}
    if localities is None:
        hosts = [name] if hosts is None else hosts
        localities = [{"lb_endpoints": [endpoint(h) if isinstance(h, str) else h for h in hosts]}]
    out["load_assignment"] = {"cluster_name": name, "endpoints": localities}
    if http2:
        protocol = {"explicit_http_config": {"http2_protocol_options": {}}, **(protocol or {})}
    if protocol is not None:
        if not any(key in protocol for key in ("explicit_http_config", "use_downstream_protocol_config", "auto_config")):
            protocol = {"explicit_http_config": {"http_protocol_options": {}}, **protocol}
        out["typed_extension_protocol_options"] = {HTTP_OPTIONS: typed(HTTP_OPTIONS, **protocol)}
    if tls is not None:
        out["transport_socket"] = tls
    out.update(fields)
    return {key: value for key, value in out.items() if value is not None}


def bootstrap(listeners, clusters=(), **fields) -> dict:
    return {
        "node": {"id": "node-1", "cluster": "differential", "locality": {"region": "r1", "zone": "z1", "sub_zone": "s1"}},
        "admin": {"address": address("admin")},
        "static_resources": {"listeners": list(listeners), "clusters": list(clusters)},
        **fields,
    }


def http(routes=None, clusters=None, *, vhosts=None, filters=(), extra=None, **fields) -> dict:
    """The usual: one plain listener `main`, one connection manager, one cluster `a` if none is given."""
    clusters = [cluster("a")] if clusters is None else clusters
    if routes is None and vhosts is None:
        routes = [route("/", "a")]
    return bootstrap([listener(hcm(routes, vhosts=vhosts, filters=filters, **fields))], clusters, **(extra or {}))
