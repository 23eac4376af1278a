"""TLS downstream and upstream."""
from client import TCP, ClientTLS, HTTP2, Raw, Request, Resumed, Stream, get
from config import http_filter, LOG_FORMAT, access_log, bootstrap, certificate, chain, cluster, downstream_tls, hcm, http, listener, route, typed, upstream_tls
from model import Group, Upstream, answer

GROUP = Group("tls")
INSPECTOR = {"listener_filters": [{"name": "tls", "typed_config": typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")}]}
STATS = ["listener.*.ssl.connection_error", "listener.*.ssl.handshake", "listener.*.ssl.fail_verify_*", "listener.*.ssl.no_certificate", "cluster.*.ssl.handshake", "cluster.*.ssl.connection_error", "cluster.*.ssl.fail_verify_*"]
FORMAT = {**LOG_FORMAT, "tls": "%DOWNSTREAM_TLS_VERSION%", "sni": "%REQUESTED_SERVER_NAME%", "uri": "%DOWNSTREAM_PEER_URI_SAN%"}
PEER = {"subject": "%DOWNSTREAM_PEER_SUBJECT%", "issuer": "%DOWNSTREAM_PEER_ISSUER%", "dns": "%DOWNSTREAM_PEER_DNS_SAN%", "local": "%DOWNSTREAM_LOCAL_URI_SAN%", "cipher": "%DOWNSTREAM_TLS_CIPHER%"}


def setup(name, tls, *, fields=None, clusters=None, upstreams=None, listener_fields=None):
    manager = hcm([route("/", "a")], access_log=[access_log(FORMAT)], **(fields or {}))
    return GROUP.setup(name, bootstrap([listener(chain(manager, tls=tls), **(listener_fields or {}))], clusters or [cluster("a")]), stats=STATS, upstreams=upstreams or {}, ignore=["client.*.handshake"])


def tls(**fields):
    return ClientTLS(**fields)


s = setup("plain", downstream_tls())
s.case("a request over TLS", get("/p", tls=tls()))
s.case("TLS 1.2", get("/", tls=tls(max_version="TLSv1_2")))
s.case("TLS 1.3", get("/", tls=tls(min_version="TLSv1_3")))
s.case("TLS 1.1 is refused", get("/", tls=tls(max_version="TLSv1_1", verify=False, ciphers="ALL:@SECLEVEL=0")), logs=0)
s.case("no SNI", get("/", tls=tls(sni=None)))
s.case("another SNI", get("/", tls=tls(sni="other.test")))
s.case("a client certificate that nobody asked for", get("/", tls=tls(certificate="client")))
s.case("alpn not offered", get("/", tls=tls(alpn=["http/1.1"])))
s.case("plain HTTP to a TLS port", Raw(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", requests=0), ignore=["client.*.responses.*"], logs=0)
s.case("two requests on a connection", get("/", tls=tls(), conn="c"), get("/", tls=tls(), conn="c"))
s.case("a session without ticket keys", Resumed(tls()))
s = setup("ticket keys", downstream_tls(session_ticket_keys={"keys": [{"inline_string": "k" * 80}]}))
s.case("a session by a ticket", Resumed(tls()))
s.case("a session by a ticket, TLS 1.2", Resumed(tls(max_version="TLSv1_2")))
s = setup("two certificates", downstream_tls(("server", "server-b")))
for sni in ("a.example", "b.example", "x.wild.example", "unknown.test", None):
    s.case(f"certificate for {sni}", get("/", tls=tls(sni=sni)))
s = setup("rsa and ecdsa", downstream_tls(("server-rsa", "server")))
s.case("an RSA-only client", get("/", tls=tls(max_version="TLSv1_2", ciphers="aRSA")))
s.case("an ECDSA-only client", get("/", tls=tls(max_version="TLSv1_2", ciphers="aECDSA")))
s = setup("versions", downstream_tls(common={"tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}}))
s.case("minimum 1.3: 1.2 is refused", get("/", tls=tls(max_version="TLSv1_2")), logs=0)
s.case("minimum 1.3: 1.3 serves", get("/", tls=tls()))
s = setup("ciphers", downstream_tls(common={"tls_params": {"tls_maximum_protocol_version": "TLSv1_2", "cipher_suites": ["ECDHE-ECDSA-AES128-GCM-SHA256"]}}))
s.case("a cipher of the list", get("/", tls=tls()))
s.case("no cipher in common", get("/", tls=tls(ciphers="ECDHE-ECDSA-AES256-GCM-SHA384")), logs=0)
s = setup("alpn", downstream_tls(common={"alpn_protocols": ["h2", "http/1.1"]}))
s.case("alpn h2", HTTP2(Stream(scheme="https"), tls=tls(alpn=["h2"])))
s.case("alpn http/1.1", get("/", tls=tls(alpn=["http/1.1"])))
s.case("alpn of the client without overlap", get("/", tls=tls(alpn=["spdy/1"])))

CLIENT = {"forward_client_cert_details": "SANITIZE_SET", "set_current_client_cert_details": {"subject": True, "uri": True, "dns": True}}
VALIDATE = {"validation_context": {"trusted_ca": {"filename": "$certs/ca.pem"}}}
s = setup("mutual", downstream_tls(common=VALIDATE, require_client_certificate=True), fields=CLIENT)
XFCC = ["upstream.*.headers.x-forwarded-client-cert"]
for name in ("client", "client-b", "client-chain"):
    s.case(f"certificate {name}", get("/", [("x-forwarded-client-cert", "By=spoof")], tls=tls(certificate=name)))
for name in (None, "client-other", "client-expired"):
    s.case(f"certificate {name} is refused", get("/", tls=tls(certificate=name)), logs=0, ignore=["client.*"])
s = setup("mutual with ticket keys", downstream_tls(common=VALIDATE, require_client_certificate=True, session_ticket_keys={"keys": [{"inline_string": "k" * 80}]}))
s.case("a session with a client certificate", Resumed(tls(certificate="client")))
s = setup("optional", downstream_tls(common=VALIDATE), fields=CLIENT)
s.case("optional: none", get("/", tls=tls()))
s.case("optional: one", get("/", tls=tls(certificate="client")))
s.case("optional: a bad one", get("/", tls=tls(certificate="client-other")), logs=0, ignore=["client.*"])
s = GROUP.setup("peer operators", bootstrap([listener(chain(hcm([route("/", "a")], access_log=[access_log(PEER)]), tls=downstream_tls(common=VALIDATE)))], [cluster("a")]), ignore=["log.*.cipher"])
s.case("log operators about the peer", get("/", tls=tls(certificate="client")))
s.case("log operators without a peer", get("/", tls=tls()))
URI = {"san_type": "URI", "matcher": {"exact": "spiffe://cluster.local/ns/default/sa/client"}}
for name, matcher in [("exact", URI), ("prefix", {"san_type": "URI", "matcher": {"prefix": "spiffe://cluster.local/ns/default/"}}), ("suffix", {"san_type": "URI", "matcher": {"suffix": "/sa/client"}}), ("regex", {"san_type": "URI", "matcher": {"safe_regex": {"regex": ".*/sa/client"}}}),
                      ("dns", {"san_type": "DNS", "matcher": {"exact": "client.example"}})]:
    s = setup(f"san {name}", downstream_tls(common={"validation_context": {"trusted_ca": {"filename": "$certs/ca.pem"}, "match_typed_subject_alt_names": [matcher]}}, require_client_certificate=True))
    s.case(f"SAN {name} matches", get("/", tls=tls(certificate="client")))
    s.case(f"SAN {name} does not match", get("/", tls=tls(certificate="client-b")), logs=0, ignore=["client.*"])
s = setup("crl", downstream_tls(common={"validation_context": {"trusted_ca": {"filename": "$certs/ca.pem"}, "crl": {"filename": "$certs/crl.pem"}}}, require_client_certificate=True))
s.case("revoked", get("/", tls=tls(certificate="client-revoked")), logs=0, ignore=["client.*"])
s.case("not revoked", get("/", tls=tls(certificate="client")))
s = setup("accept untrusted", downstream_tls(common={"validation_context": {"trusted_ca": {"filename": "$certs/ca.pem"}, "trust_chain_verification": "ACCEPT_UNTRUSTED"}}))
s.case("untrusted is accepted", get("/", tls=tls(certificate="client-other")))
for mode in ("SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"):
    s = setup(f"xfcc {mode}", downstream_tls(common=VALIDATE), fields={"forward_client_cert_details": mode, "set_current_client_cert_details": {"uri": True, "subject": True, "cert": True, "chain": True}})
    s.case(f"xfcc {mode}: with a certificate", get("/", [("x-forwarded-client-cert", "By=before;URI=x")], tls=tls(certificate="client")))
    s.case(f"xfcc {mode}: without", get("/", [("x-forwarded-client-cert", "By=before;URI=x")], tls=tls()))
s = GROUP.setup("chains", bootstrap([listener(
    chain(hcm([route("/", "a", name="a")]), tls=downstream_tls(("server",)), filter_chain_match={"server_names": ["a.example"]}), chain(hcm([route("/", "a", name="wild")]), tls=downstream_tls(("server",)), filter_chain_match={"server_names": ["*.wild.example"]}),
    chain(hcm([route("/", "a", name="b")]), tls=downstream_tls(("server-b",)), filter_chain_match={"server_names": ["b.example"]}), chain(hcm([route("/", "a", name="plain")]), filter_chain_match={"transport_protocol": "raw_buffer"}), **INSPECTOR)], [cluster("a")]), stats=STATS, ignore=["client.*.handshake"])
for sni in ("a.example", "b.example", "deep.wild.example", "A.EXAMPLE"):
    s.case(f"chain for {sni}", get("/", tls=tls(sni=sni)))
s.case("chain for plain text", get("/"))
s.case("no chain for another name", get("/", tls=tls(sni="nobody.test")), logs=0, ignore=["client.*"])
s = GROUP.setup("alpn chains", bootstrap([listener(chain(hcm([route("/", "a", name="h2")]), tls=downstream_tls(common={"alpn_protocols": ["h2"]}), filter_chain_match={"application_protocols": ["h2"]}),
    chain(hcm([route("/", "a", name="other")]), tls=downstream_tls()), **INSPECTOR)], [cluster("a")]))
s.case("chain by alpn", HTTP2(Stream(scheme="https"), tls=tls(alpn=["h2"])))
s.case("chain without that alpn", get("/", tls=tls(alpn=["http/1.1"])))
s = setup("require tls", downstream_tls(), fields={"route_config": None} and {})
s.case("x-forwarded-proto of TLS", get("/", tls=tls()))

UP = {"a": Upstream(tls={"certificate": "upstream"})}
TRUST = {"validation_context": {"trusted_ca": {"filename": "$certs/ca.pem"}}}


UPSTREAM_FORMAT = {**LOG_FORMAT, "up version": "%UPSTREAM_TLS_VERSION%", "up cipher": "%UPSTREAM_TLS_CIPHER%", "up subject": "%UPSTREAM_PEER_SUBJECT%", "up issuer": "%UPSTREAM_PEER_ISSUER%",
                   "up uri": "%UPSTREAM_PEER_URI_SAN%", "up dns": "%UPSTREAM_PEER_DNS_SAN%"}


def upstream(name, tls_fields, case="upstream", expect=None, server=None, http2=False, case_ignore=(), **cluster_fields):
    s = GROUP.setup(f"upstream {name}", http([route("/", "a")], [cluster("a", tls=upstream_tls(**tls_fields), http2=http2, **cluster_fields)], access_log=[access_log(UPSTREAM_FORMAT)]), stats=STATS, upstreams={"a": server or UP["a"]})
    s.case(f"upstream: {name}", get("/"), ignore=list(case_ignore))
    return s


FAILS = ["client.*.body", "client.*.headers.content-length", "log.*.failure", "log.*.details", "log.*.sent"]
upstream("trusted", {"sni": "upstream.example", "common": TRUST})
upstream("no validation", {})
upstream("wrong CA", {"common": {"validation_context": {"trusted_ca": {"filename": "$certs/other-ca.pem"}}}}, case_ignore=FAILS)
upstream("SAN matches", {"common": {"validation_context": {"trusted_ca": {"filename": "$certs/ca.pem"}, "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": "spiffe://cluster.local/ns/default/sa/upstream"}}]}}})
upstream("SAN does not match", {"common": {"validation_context": {"trusted_ca": {"filename": "$certs/ca.pem"}, "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": "spiffe://cluster.local/ns/default/sa/other"}}]}}}, case_ignore=FAILS)
upstream("client certificate", {"common": {**TRUST, "tls_certificates": [certificate("client")]}}, server=Upstream(tls={"certificate": "upstream", "client_ca": "ca"}))
upstream("client certificate missing", {"common": TRUST}, server=Upstream(tls={"certificate": "upstream", "client_ca": "ca", "max_version": "TLSv1_2"}), case_ignore=FAILS)
upstream("expired server", {"common": TRUST}, server=Upstream(tls={"certificate": "server-expired"}), case_ignore=FAILS)
upstream("upstream is plain", {"common": TRUST}, server=Upstream(), case_ignore=FAILS)
upstream("alpn", {"common": {**TRUST, "alpn_protocols": ["http/1.1"]}}, server=Upstream(tls={"certificate": "upstream", "alpn": ["http/1.1"]}))
upstream("h2 over TLS", {"common": TRUST}, server=Upstream(kind="http2", tls={"certificate": "upstream"}), http2=True)
upstream("auto sni", {"common": TRUST}, protocol={"upstream_http_protocol_options": {"auto_sni": True}})
upstream("auto san validation", {"common": TRUST}, protocol={"upstream_http_protocol_options": {"auto_sni": True, "auto_san_validation": True}}, case_ignore=FAILS)
for name, server in [
    ("h2", Upstream(kind="http2", tls={"certificate": "upstream", "alpn": ["h2"]})),
    ("http/1.1", Upstream(tls={"certificate": "upstream", "alpn": ["http/1.1"]})), ("nothing", Upstream(tls={"certificate": "upstream"}))]:
    upstream(f"auto config, the host chooses {name}", {"common": TRUST}, protocol={"auto_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}, server=server)
upstream("TLS 1.2 alone", {"common": {**TRUST, "tls_params": {"tls_maximum_protocol_version": "TLSv1_2"}}})
s = GROUP.setup("upstream matches", http([route("/", "a")], [cluster("a", [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": "$port:a"}}}, "metadata": {"filter_metadata": {"envoy.transport_socket_match": {"tls": "yes"}}}}],
    transport_socket_matches=[{"name": "tls", "match": {"tls": "yes"}, "transport_socket": upstream_tls(common=TRUST, sni="matched.test")}, {"name": "plain", "match": {}, "transport_socket": {"name": "raw", "typed_config": typed("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")}}])]), stats=STATS, upstreams=UP)
s.case("transport socket by the endpoint's metadata", get("/"))
STATE = http_filter("envoy.filters.http.set_filter_state", "envoy.extensions.filters.http.set_filter_state.v3.Config", on_request_headers=[
    {"object_key": "envoy.network.upstream_server_name", "skip_if_empty": True, "format_string": {"omit_empty_values": True, "text_format_source": {"inline_string": "%REQ(x-name)%"}}}])
for name, fields in (("sni", {"sni": "upstream.example", "common": TRUST}), ("auto sni", {"common": TRUST})):
    s = GROUP.setup(f"server name by filter state, {name}", http([route("/", "a")], [cluster("a", tls=upstream_tls(**fields), **({} if "sni" in fields else {"protocol": {"upstream_http_protocol_options": {"auto_sni": True}}}))], filters=[STATE]), stats=STATS, upstreams=UP)
    for value in ("one.test", "two.test", None):
        s.case(f"upstream: server name by filter state, {name}: {value}", get("/", [("x-name", value)] if value else []))
