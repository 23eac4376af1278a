internal import EnvoyAPI
internal import Serialization

extension ClusterConfig.Settings {
    /// The protocol options, in their new place (`typed_extension_protocol_options`) and in the old one.
    mutating func takeProtocols(_ message: Cluster, _ path: FieldPath) throws(ConfigurationError) {
        maxRequestsPerConnection = message.maxRequestsPerConnection
        if let common = message.commonHttpProtocolOptions {
            try takeCommonHTTP(common, path / "common_http_protocol_options")
        }
        if let http1 = message.httpProtocolOptions { try takeHTTP1(http1, path / "http_protocol_options") }
        if let http2 = message.http2ProtocolOptions { try takeHTTP2(http2, path / "http2_protocol_options") }
        if let names = message.upstreamHttpProtocolOptions { takeNames(names) }
        switch message.protocolSelection {
        case .useConfiguredProtocol: break
        case .useDownstreamProtocol: codec = .downstream
        case .unrecognized(let number): throw (path / "protocol_selection").error("\(number) is no selection")
        }
        for (name, any) in message.typedExtensionProtocolOptions.sorted(by: { $0.key < $1.key }) {
            let place = (path / "typed_extension_protocol_options")[name]
            guard any.holds(UpstreamHttpProtocolOptions.self) else { throw place.unsupported(any.typeURL) }
            let options: UpstreamHttpProtocolOptions
            do throws(MessageError) {
                options = try any.unpack()
            } catch {
                throw ConfigurationError(
                    at: error.path.isEmpty ? place.text : (place / error.path).text, error.problem)
            }
            try takeHTTP(options, place)
        }
    }

    private mutating func takeNames(_ message: UpstreamHttpNamesOptions) {
        serverNames.followRequests = message.autoSni
        serverNames.areChecked = message.autoSanValidation
        serverNames.header = message.overrideAutoSniHeader.isEmpty ? nil : message.overrideAutoSniHeader.lowercased()
    }

    private mutating func takeHTTP(
        _ message: UpstreamHttpProtocolOptions, _ path: FieldPath
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path,
            handles:
                "common_http_protocol_options explicit_http_config use_downstream_protocol_config auto_config upstream_http_protocol_options outlier_detection hash_policy http_filters"
        )
        if let detection = message.outlierDetection, let matcher = detection.errorMatcher {
            errorMatcher = try ErrorMatcher(compiling: matcher, path / "outlier_detection" / "error_matcher")
        }
        for (index, policy) in message.hashPolicy.enumerated() {
            hashPolicies.append(try HashPolicy(compiling: policy, (path / "hash_policy")[index]))
        }
        if let names = message.upstreamHttpProtocolOptions { takeNames(names) }
        if let common = message.commonHttpProtocolOptions {
            try takeCommonHTTP(common, path / "common_http_protocol_options")
        }
        switch message.upstreamProtocolOptions {
        case nil:
            throw path.error(
                "names no protocol: set explicit_http_config, use_downstream_protocol_config or auto_config")
        case .explicitHttpConfig(let config):
            let place = path / "explicit_http_config"
            switch config.protocolConfig {
            case nil: codec = .http1
            case .httpProtocolOptions(let http1):
                try takeHTTP1(http1, place / "http_protocol_options")
                codec = .http1
            case .http2ProtocolOptions(let http2): try takeHTTP2(http2, place / "http2_protocol_options")
            case .http3ProtocolOptions: throw (place / "http3_protocol_options").unsupported()
            }
        case .useDownstreamProtocolConfig(let config):
            let place = path / "use_downstream_protocol_config"
            try FieldCheck.check(config, place, handles: "http_protocol_options http2_protocol_options")
            if let http1 = config.httpProtocolOptions { try takeHTTP1(http1, place / "http_protocol_options") }
            if let http2 = config.http2ProtocolOptions { try takeHTTP2(http2, place / "http2_protocol_options") }
            codec = .downstream
        case .autoConfig(let config):
            let place = path / "auto_config"
            try FieldCheck.check(config, place, handles: "http_protocol_options http2_protocol_options")
            if let http1 = config.httpProtocolOptions { try takeHTTP1(http1, place / "http_protocol_options") }
            if let http2 = config.http2ProtocolOptions { try takeHTTP2(http2, place / "http2_protocol_options") }
            codec = .automatic
        }
    }

    private mutating func takeCommonHTTP(
        _ message: HttpProtocolOptions, _ path: FieldPath
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path,
            handles:
                "idle_timeout max_connection_duration max_headers_count max_response_headers_kb max_requests_per_connection max_stream_duration"
        )
        idleTimeout = try .checkedLimit(message.idleTimeout, default: .seconds(3600), path / "idle_timeout")
        maxConnectionDuration = try .checkedLimit(
            message.maxConnectionDuration, default: nil, path / "max_connection_duration")
        maxStreamDuration = try .checkedLimit(
            message.maxStreamDuration, default: nil, path / "max_stream_duration")
        if let count = message.maxRequestsPerConnection { maxRequestsPerConnection = count == 0 ? nil : count }
        if let count = message.maxHeadersCount {
            guard count > 0 else { throw (path / "max_headers_count").error("must be above 0") }
            responseHeadersMax = count
        }
        if let kilobytes = message.maxResponseHeadersKb {
            guard (1...8192).contains(kilobytes) else {
                throw (path / "max_response_headers_kb").error("\(kilobytes) is not in 1...8192")
            }
            responseHeaderBytesMax = kilobytes * 1024
        }
    }

    private mutating func takeHTTP1(_ message: Http1ProtocolOptions, _ path: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(message, path, handles: "enable_trailers header_key_format")
        passesTrailers = message.enableTrailers
        fieldNames = try FieldNameFormat(compiling: message.headerKeyFormat, at: (path / "header_key_format").text)
    }

    private mutating func takeHTTP2(_ message: Http2ProtocolOptions, _ path: FieldPath) throws(ConfigurationError) {
        codec = .http2
        http2 = try HTTP2Options(message, path)
    }
}
