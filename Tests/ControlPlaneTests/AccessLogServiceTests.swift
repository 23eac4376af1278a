import EnvoyAPI
import HTTP
import IO
import Insight
import Mesh
import Serialization
import Testing
import XDS

@testable import ControlPlane

@Suite("Access logs that proxies of others send")
struct AccessLogServiceTests {
    private static let pod = NamespacedName(namespace: "default", name: "web-1")

    private static func service(_ limits: AccessLogService.Limits = .init()) throws -> AccessLogService {
        let service = AccessLogService(on: try EventLoop(), limits: limits)
        service.workload = { address in
            guard let name = ["10.0.0.1": "web", "10.0.0.2": "reviews-v1"][address] else { return nil }
            var message = EnvoyAPI.Workload()
            message.name = name
            message.namespace = "default"
            message.app = name
            return message
        }
        service.address = { _ in "10.0.0.1" }
        service.service = { _, cluster in
            cluster == "inbound|8080||" ? .init(host: "web.default.svc", name: "web", namespace: "default") : nil
        }
        try service.open(pod)
        return service
    }

    private static func address(_ text: String) -> EnvoyAPI.Address {
        var socket = EnvoyAPI.SocketAddress()
        socket.address = text
        var address = EnvoyAPI.Address()
        address.address = .socketAddress(socket)
        return address
    }

    private static func http(_ change: (inout HTTPAccessLogEntry) -> Void = { _ in }) -> HTTPAccessLogEntry {
        var common = AccessLogCommon()
        common.upstreamCluster = "outbound|9080|v1|reviews.default.svc.cluster.local"
        common.upstreamRemoteAddress = address("10.0.0.2")
        common.downstreamDirectRemoteAddress = address("10.0.0.2")
        common.duration = .milliseconds(12)
        var request = HTTPRequestProperties()
        (request.requestHeadersBytes, request.requestBodyBytes) = (100, 20)
        var response = HTTPResponseProperties()
        response.responseCode = 200
        (response.responseHeadersBytes, response.responseBodyBytes) = (200, 3000)
        var entry = HTTPAccessLogEntry()
        entry.commonProperties = common
        entry.request = request
        entry.response = response
        change(&entry)
        return entry
    }

    private static func message(_ entries: [HTTPAccessLogEntry]) -> StreamAccessLogsMessage {
        var logs = StreamAccessLogsMessage.HTTPAccessLogEntries()
        logs.logEntry = entries
        var message = StreamAccessLogsMessage()
        message.logEntries = .httpLogs(logs)
        return message
    }

    private static func connection(_ type: AccessLogType, id: String = "a", sent: UInt64, received: UInt64)
        -> StreamAccessLogsMessage
    {
        var common = AccessLogCommon()
        common.upstreamCluster = "outbound|9000||bytes.default.svc.cluster.local"
        common.upstreamRemoteAddress = address("10.0.0.2")
        common.accessLogType = type
        common.streamId = id
        var entry = TCPAccessLogEntry()
        entry.commonProperties = common
        var properties = ConnectionProperties()
        (properties.sentBytes, properties.receivedBytes) = (sent, received)
        entry.connectionProperties = properties
        var logs = StreamAccessLogsMessage.TCPAccessLogEntries()
        logs.logEntry = [entry]
        var message = StreamAccessLogsMessage()
        message.logEntries = .tcpLogs(logs)
        return message
    }

    /// What is new, as series: their values by name and the labels that are asked for.
    private static func told(_ service: AccessLogService) throws -> SeriesStore {
        var store = SeriesStore()
        var collector = Collector()
        collector.begin(tick: 100)
        for (name, traffic) in service.takeNew() {
            collector.take(traffic, of: ObservedPod(namespace: name.namespace, name: name.name, workload: "web"))
        }
        collector.finish(into: &store)
        return store
    }

    private static func values(_ query: String, _ store: SeriesStore) throws -> [Double] {
        let answer = PrometheusAPI(store, now: 1_000_000).answer("query", [("query", query)])
        return (answer?.json["data"]?["result"]?.array ?? []).compactMap {
            $0["value"]?[1]?.string.flatMap { Double($0) }
        }
    }

    @Test("a request is counted with the workloads of both sides, its service, times and sizes")
    func requests() throws {
        let service = try Self.service()
        let grpc = Self.http {
            $0.request?.requestHeaders = ["content-type": "application/grpc+proto"]
            $0.response?.responseTrailers = ["grpc-status": "14"]
        }
        let failed = Self.http {
            var flags = AccessLogResponseFlags()
            (flags.upstreamConnectionFailure, flags.upstreamRetryLimitExceeded) = (true, true)
            $0.commonProperties?.responseFlags = flags
            $0.commonProperties?.upstreamRemoteAddress = nil
            $0.response?.responseCode = 503
        }
        var under = Self.http()
        under.commonProperties?.intermediateLogEntry = true
        service.take(Self.message([Self.http(), Self.http(), grpc, failed, under]), of: Self.pod, isServer: false)
        let store = try Self.told(service)
        let both = #"reporter="source",source_workload="web",destination_service_name="reviews""#
        #expect(
            try Self.values(
                #"istio_requests_total{\#(both),destination_workload="reviews-v1",request_protocol="http"}"#, store)
                == [2])
        #expect(
            try Self.values(#"istio_requests_total{\#(both),request_protocol="grpc",grpc_response_status="14"}"#, store)
                == [1])
        #expect(
            try Self.values(
                #"istio_requests_total{response_code="503",response_flags="UF,URX",destination_workload="unknown"}"#,
                store) == [1])
        #expect(try Self.values("sum(istio_request_duration_milliseconds_sum)", store) == [48])
        #expect(try Self.values("sum(istio_request_bytes_sum)", store) == [480])
        #expect(try Self.values("sum(istio_response_bytes_sum)", store) == [12_800])
        #expect(try Self.values(#"sum(skein_edge_requests_total{destination_subset="v1"})"#, store) == [4])
        #expect(service.entries == 4 && service.takeNew().isEmpty)
    }

    @Test("at the server's side the client is who has its address, the identities are the certificates'")
    func servers() throws {
        let service = try Self.service()
        func certificate(_ uri: String) -> TLSProperties.CertificateProperties {
            var name = TLSProperties.CertificateProperties.SubjectAltName()
            name.san = .uri(uri)
            var properties = TLSProperties.CertificateProperties()
            properties.subjectAltName = [name]
            return properties
        }
        let secure = Self.http {
            var tls = TLSProperties()
            tls.peerCertificateProperties = certificate("spiffe://c/ns/default/sa/reviews")
            tls.localCertificateProperties = certificate("spiffe://c/ns/default/sa/web")
            $0.commonProperties?.tlsProperties = tls
            $0.commonProperties?.upstreamCluster = "inbound|8080||"
        }
        let plain = Self.http { $0.commonProperties?.upstreamCluster = "inbound|8080||" }
        service.take(Self.message([secure, plain]), of: Self.pod, isServer: true)
        let store = try Self.told(service)
        let sides =
            #"reporter="destination",source_workload="reviews-v1",destination_workload="web",destination_service="web.default.svc""#
        let identities =
            #"source_principal="spiffe://c/ns/default/sa/reviews",destination_principal="spiffe://c/ns/default/sa/web""#
        #expect(
            try Self.values(
                #"istio_requests_total{\#(sides),connection_security_policy="mutual_tls",\#(identities)}"#, store) == [
                    1
                ])
        #expect(try Self.values(#"istio_requests_total{\#(sides),connection_security_policy="none"}"#, store) == [1])
    }

    @Test(
        "of a connection that lasts each entry adds what is new; one that was there before us is not counted from its beginning"
    )
    func connections() throws {
        let service = try Self.service()
        for message in [
            Self.connection(.tcpUpstreamConnected, sent: 0, received: 0),
            Self.connection(.tcpPeriodic, sent: 500, received: 50),
            Self.connection(.tcpPeriodic, id: "old", sent: 9_000_000, received: 9_000_000),
            Self.connection(.tcpPeriodic, id: "old", sent: 9_000_100, received: 9_000_010),
        ] { service.take(message, of: Self.pod, isServer: false) }
        var store = try Self.told(service)
        #expect(try Self.values("istio_tcp_sent_bytes_total", store) == [600])
        #expect(try Self.values("istio_tcp_received_bytes_total", store) == [60])
        #expect(try Self.values("istio_tcp_connections_opened_total", store) == [1])
        #expect(try Self.values("istio_tcp_connections_closed_total", store) == [0])
        service.take(Self.connection(.tcpConnectionEnd, sent: 700, received: 70), of: Self.pod, isServer: false)
        service.take(
            Self.connection(.tcpConnectionEnd, id: "short", sent: 7, received: 7), of: Self.pod, isServer: false)
        store = try Self.told(service)
        #expect(try Self.values("istio_tcp_sent_bytes_total", store) == [207])
        #expect(try Self.values("istio_tcp_connections_opened_total", store) == [1])
        #expect(try Self.values("istio_tcp_connections_closed_total", store) == [2])
    }

    @Test("ATK-19 entries, streams and connections beyond their bounds are left out and counted")
    func bounds() throws {
        var limits = AccessLogService.Limits()
        (limits.burst, limits.rate, limits.streamsPerPod, limits.connectionsMax) = (10, 0, 2, 3)
        let service = try Self.service(limits)
        try service.open(Self.pod)
        #expect(throws: GRPCStatus.self) { try service.open(Self.pod) }
        service.take(Self.message(Array(repeating: Self.http(), count: 25)), of: Self.pod, isServer: false)
        #expect(service.entries == 10 && service.refused == 15 && service.refusedStreams == 1)
        let store = try Self.told(service)
        #expect(try Self.values("istio_requests_total", store) == [10])
        for line in [
            "skein_access_log_refused_total 15", "skein_access_log_refused_streams_total 1",
            "skein_access_log_streams 2",
        ] {
            #expect(service.metrics.contains(line + "\n"))
        }
    }

    @Test(
        "Envoy's listeners get logs by the cluster that it names, ours and who names none do not; gateways of ours count connections"
    )
    func listeners() throws {
        var proxy = TcpProxy()
        proxy.clusterSpecifier = .cluster("a")
        var file = AccessLog()
        file.name = "file"
        proxy.accessLog = [file]
        func filter(_ message: some Message) -> EnvoyAPI.Filter {
            var filter = EnvoyAPI.Filter()
            filter.configType = .typedConfig(AnyMessage(packing: message))
            return filter
        }
        var bytes = FilterChain()
        bytes.filters = [filter(proxy)]
        var http = FilterChain()
        http.filters = [filter(HttpConnectionManager())]
        var listener = Listener()
        listener.trafficDirection = .inbound
        listener.filterChains = [bytes, http]
        let resource = EncodedResource(name: "l", message: AnyMessage(packing: listener))
        func node(_ agent: String, _ cluster: String?) -> EnvoyAPI.Node {
            var node = EnvoyAPI.Node()
            node.userAgentName = agent
            node.metadata = cluster.map { ["skein.access_logs": .string($0)] }
            return node
        }
        #expect(LoggedProxies.cluster(node("envoy", "xds")) == "xds")
        #expect(LoggedProxies.cluster(node("envoy", nil)) == nil && LoggedProxies.cluster(node("envoy", "")) == nil)
        #expect(
            LoggedProxies.cluster(node("skein-proxy", "xds")) == nil
                && LoggedProxies.cluster(node("gRPC C++", "xds")) == nil)
        #expect(LoggedProxies.cluster(node("envoy", String(repeating: "x", count: 200))) == nil)

        func changed(_ forms: AdaptedResources) throws -> Listener {
            var forms = forms
            let part = SnapshotPart([Listener.typeURL: [ResourceTable(["l": resource])]])
            let made = forms.part(part)
            #expect(forms.part(part) === made)
            return try #require(made.tables[Listener.typeURL]?.first?.resources["l"]).message.unpack(as: Listener.self)
        }
        let logged = try changed(LoggedProxies.resources("xds"))
        let first = try #require(logged.filterChains.first?.filters.first)
        guard case .typedConfig(let config)? = first.configType else { return }
        let found = try config.unpack(as: TcpProxy.self)
        #expect(found.accessLog.count == 2 && found.accessLogOptions?.flushAccessLogOnConnected == true)
        // The log that was there goes on telling ends only.
        guard case .logTypeFilter(let types)? = found.accessLog.first?.filter?.filterSpecifier else {
            Issue.record("no filter")
            return
        }
        #expect(types.exclude && types.types == [.tcpUpstreamConnected, .tcpPeriodic])
        guard case .typedConfig(let log)? = found.accessLog.last?.configType else { return }
        #expect(try log.unpack(as: TcpGrpcAccessLogConfig.self).commonConfig?.logName == "skein.server")

        let counted = try changed(MetricChains.resources)
        #expect(counted.filterChains.map(\.filters.count) == [2, 1])
        #expect(counted.filterChains.first?.filters.first?.name == "istio.stats")
    }
}
