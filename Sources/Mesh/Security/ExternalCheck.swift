import EnvoyAPI
import KubernetesAPI
import Serialization

extension SecurityConfig {
    /// A service that decides about requests (`extensionProviders`).
    struct Provider: Sendable, Hashable {
        /// Whether it is asked by gRPC; else by HTTP.
        var isGRPC: Bool
        var settings: JSON

        init?(_ json: JSON) {
            if let settings = json["envoyExtAuthzGrpc"] {
                isGRPC = true
                self.settings = settings
            } else if let settings = json["envoyExtAuthzHttp"] {
                isGRPC = false
                self.settings = settings
            } else {
                return nil
            }
        }
    }
}

/// The filters that ask a provider.
struct ExternalCheck {
    private let provider: SecurityConfig.Provider
    private let cluster: String
    private let host: String
    private let port: Int
    private var view: KubernetesObject { KubernetesObject(json: provider.settings) }
    /// How long an answer is waited for when nothing is written: Istio's.
    private static let timeout = Duration.seconds(600)

    init?(_ provider: SecurityConfig.Provider, model: MeshModel) {
        self.provider = provider
        let settings = KubernetesObject(json: provider.settings)
        // `namespace/host` says where the service is; host names are unique among us.
        let written = settings.string("service").split(separator: "/").last.map { String($0).lowercased() } ?? ""
        guard !written.isEmpty, let port = settings.int("port") else { return nil }
        host = written
        self.port = port
        cluster = Destinations.clusterName(host: written, port: port)
    }

    /// The check of requests that the shadow rules of that prefix have matched.
    func http(enabledBy prefix: String) -> AnyMessage {
        var filter = HTTPExtAuthz()
        filter.transportApiVersion = .v3
        filter.failureModeAllow = view.bool("failOpen")
        filter.clearRouteCache = view.bool("clearRouteCache")
        if let code = Int(view.string("statusOnError")) {
            var message = HttpStatus()
            message.code = StatusCode(rawValue: Int32(clamping: code))
            filter.statusOnError = message
        }
        if let body = provider.settings["includeRequestBodyInCheck"] {
            var buffer = ExtAuthzBufferSettings()
            let view = KubernetesObject(json: body)
            buffer.maxRequestBytes = UInt32(clamping: view.int("maxRequestBytes") ?? 0)
            buffer.allowPartialMessage = view.bool("allowPartialMessage")
            buffer.packAsBytes = view.bool("packAsBytes")
            filter.withRequestBody = buffer
        }
        filter.filterEnabledMetadata = Self.condition("envoy.filters.http.rbac", prefix)
        if provider.isGRPC {
            filter.services = .grpcService(grpc)
        } else {
            filter.services = .httpService(service)
            filter.allowedHeaders = list(
                view.strings("includeRequestHeadersInCheck") + view.strings("includeHeadersInCheck"))
        }
        return AnyMessage(packing: filter)
    }

    /// The check of connections; nil when the provider cannot be asked about them.
    func network(enabledBy prefix: String, statPrefix: String) -> AnyMessage? {
        guard provider.isGRPC else { return nil }
        var filter = NetworkExtAuthz()
        filter.statPrefix = statPrefix
        filter.grpcService = grpc
        filter.failureModeAllow = view.bool("failOpen")
        filter.transportApiVersion = .v3
        filter.filterEnabledMetadata = Self.condition("envoy.filters.network.rbac", prefix)
        return AnyMessage(packing: filter)
    }

    private var grpc: GrpcService {
        var target = GrpcService.EnvoyGrpc()
        target.clusterName = cluster
        target.authority = host
        var service = GrpcService()
        service.targetSpecifier = .envoyGrpc(target)
        service.timeout = view.duration("timeout") ?? Self.timeout
        return service
    }

    private var service: ExtAuthzHttpService {
        var uri = HttpUri()
        uri.uri = "http://\(host):\(port)"
        uri.httpUpstreamType = .cluster(cluster)
        uri.timeout = view.duration("timeout") ?? Self.timeout
        var service = ExtAuthzHttpService()
        service.serverUri = uri
        service.pathPrefix = view.string("pathPrefix")
        var request = AuthorizationRequest()
        request.headersToAdd = view.map("includeAdditionalHeadersInCheck").sorted { $0.key < $1.key }.map {
            var header = HeaderValue()
            header.key = $0.key
            header.value = $0.value
            return header
        }
        if !request.headersToAdd.isEmpty { service.authorizationRequest = request }
        var response = AuthorizationResponse()
        response.allowedUpstreamHeaders = list(view.strings("headersToUpstreamOnAllow"))
        response.allowedClientHeaders = list(view.strings("headersToDownstreamOnDeny"))
        response.allowedClientHeadersOnSuccess = list(view.strings("headersToDownstreamOnAllow"))
        service.authorizationResponse = response
        return service
    }

    /// Names, with `*` at either end.
    private func list(_ names: [String]) -> ListStringMatcher? {
        guard !names.isEmpty else { return nil }
        var list = ListStringMatcher()
        list.patterns = names.map { name in
            var matcher = PolicyMatchers.text(name)
            if case .safeRegex = matcher.matchPattern { return matcher }
            matcher.ignoreCase = true
            return matcher
        }
        return list
    }

    private static func condition(_ filter: String, _ prefix: String) -> MetadataMatcher {
        var segment = MetadataMatcher.PathSegment()
        segment.segment = .key(prefix + "shadow_effective_policy_id")
        var value = ValueMatcher()
        value.matchPattern = .stringMatch(PolicyMatchers.prefix("istio-ext-authz-"))
        var matcher = MetadataMatcher()
        matcher.filter = filter
        matcher.path = [segment]
        matcher.value = value
        return matcher
    }
}
