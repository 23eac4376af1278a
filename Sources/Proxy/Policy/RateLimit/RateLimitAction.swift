internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// One action of a rate limit policy: how an entry of the descriptor is made from a request.
struct RateLimitAction: Sendable {
    enum Outcome {
        case entry(RequestDescriptor.Entry)
        /// The entry is left out.
        case skip
        /// The whole descriptor is left out.
        case none
    }

    private enum Kind: Sendable {
        case destinationCluster
        case header(HeaderName, skips: Bool)
        case query([UInt8], skips: Bool)
        case remoteAddress
        case maskedRemoteAddress(v4: Int, v6: Int)
        case constant(HeaderTemplate, fallback: String)
        case headerMatch([Upstream.HeaderMatcher], HeaderTemplate, expected: Bool)
        case queryMatch([Upstream.QueryParameterMatcher], HeaderTemplate, expected: Bool)
        case metadata(MetadataPath, fallback: String, skips: Bool)
    }

    private let key: String
    private let kind: Kind

    init(compiling message: RateLimit.Action, at path: String, serviceCluster: String) throws(ConfigurationError) {
        switch message.actionSpecifier {
        case .sourceCluster:
            key = "source_cluster"
            kind = .constant(HeaderTemplate(constant: serviceCluster), fallback: "")
        case .destinationCluster:
            key = "destination_cluster"
            kind = .destinationCluster
        case .requestHeaders(let message):
            guard !message.headerName.isEmpty, !message.descriptorKey.isEmpty else {
                throw ConfigurationError(at: path + ".request_headers", "header_name and descriptor_key are needed")
            }
            key = message.descriptorKey
            kind = .header(HeaderName(message.headerName), skips: message.skipIfAbsent)
        case .queryParameters(let message):
            guard !message.queryParameterName.isEmpty, !message.descriptorKey.isEmpty else {
                throw ConfigurationError(
                    at: path + ".query_parameters", "query_parameter_name and descriptor_key are needed")
            }
            key = message.descriptorKey
            kind = .query(Array(message.queryParameterName.utf8), skips: message.skipIfAbsent)
        case .remoteAddress:
            key = "remote_address"
            kind = .remoteAddress
        case .maskedRemoteAddress(let message):
            let (v4, v6) = (message.v4PrefixMaskLen ?? 32, message.v6PrefixMaskLen ?? 128)
            guard v4 <= 32, v6 <= 128 else {
                throw ConfigurationError(at: path + ".masked_remote_address", "a mask is longer than the address")
            }
            key = "masked_remote_address"
            kind = .maskedRemoteAddress(v4: Int(v4), v6: Int(v6))
        case .genericKey(let message):
            guard !message.descriptorValue.isEmpty else {
                throw ConfigurationError(at: path + ".generic_key.descriptor_value", "is empty")
            }
            key = message.descriptorKey.isEmpty ? "generic_key" : message.descriptorKey
            kind = .constant(
                try Self.template(message.descriptorValue, at: path + ".generic_key.descriptor_value"),
                fallback: message.defaultValue)
        case .headerValueMatch(let message):
            key = message.descriptorKey.isEmpty ? "header_match" : message.descriptorKey
            kind = .headerMatch(
                try Upstream.HeaderMatcher.list(message.headers, at: path + ".header_value_match.headers"),
                try Self.template(message.descriptorValue, at: path + ".header_value_match.descriptor_value"),
                expected: message.expectMatch ?? true)
        case .queryParameterValueMatch(let message):
            key = message.descriptorKey.isEmpty ? "query_match" : message.descriptorKey
            kind = .queryMatch(
                try Upstream.QueryParameterMatcher.list(
                    message.queryParameters, at: path + ".query_parameter_value_match.query_parameters"),
                try Self.template(message.descriptorValue, at: path + ".query_parameter_value_match.descriptor_value"),
                expected: message.expectMatch ?? true)
        case .dynamicMetadata(let message):
            guard let place = MetadataPath(message.metadataKey) else {
                throw ConfigurationError(at: path + ".dynamic_metadata.metadata_key", "is missing")
            }
            key = message.descriptorKey
            kind = .metadata(place, fallback: message.defaultValue, skips: false)
        case .metadata(let message):
            guard let place = MetadataPath(message.metadataKey) else {
                throw ConfigurationError(at: path + ".metadata.metadata_key", "is missing")
            }
            guard case .dynamic = message.source else {
                throw ConfigurationError(at: path + ".metadata.source", "only DYNAMIC is supported")
            }
            key = message.descriptorKey
            kind = .metadata(place, fallback: message.defaultValue, skips: message.skipIfAbsent)
        case .extension:
            throw ConfigurationError(at: path + ".extension", "descriptor extensions are not supported")
        case nil: throw ConfigurationError(at: path, "has no action")
        }
    }

    static func template(_ text: String, at path: String) throws(ConfigurationError) -> HeaderTemplate {
        do throws(HeaderTemplateError) {
            return try HeaderTemplate(parsing: text)
        } catch {
            throw ConfigurationError(at: path, error.description)
        }
    }

    func entry(for stream: HTTPStream) -> Outcome {
        switch kind {
        case .destinationCluster: return made(stream.target?.cluster)
        case .header(let name, let skips):
            return made(stream.request.value(of: name).map { String(decoding: $0, as: UTF8.self) }, skips: skips)
        case .query(let name, let skips):
            return made(stream.request.queryValue(name).map { String(decoding: $0, as: UTF8.self) }, skips: skips)
        case .remoteAddress: return made(stream.connectionInfo.remoteAddress.address.map { "\($0)" })
        case .maskedRemoteAddress(let v4, let v6):
            return made(
                stream.connectionInfo.remoteAddress.address.flatMap {
                    Prefix($0, length: $0.isV6 ? v6 : v4)?.description
                })
        case .constant(let template, let fallback):
            let text = String(decoding: HeaderRewriter(stream: stream).render(template), as: UTF8.self)
            return made(text.isEmpty ? fallback : text)
        case .headerMatch(let matchers, let template, let expected):
            var matches = true
            for matcher in matchers where !stream.request.read({ matcher.matches($0) }) { matches = false }
            return matches == expected ? rendered(template, stream) : .none
        case .queryMatch(let matchers, let template, let expected):
            let query = stream.request.queryBytes
            var matches = true
            for matcher in matchers where !matcher.matches(query: query.span) { matches = false }
            return matches == expected ? rendered(template, stream) : .none
        case .metadata(let place, let fallback, let skips):
            let value = place.value(in: stream.info.metadata)?.string ?? ""
            return made(value.isEmpty ? fallback : value, skips: skips)
        }
    }

    private func rendered(_ template: HeaderTemplate, _ stream: HTTPStream) -> Outcome {
        made(String(decoding: HeaderRewriter(stream: stream).render(template), as: UTF8.self))
    }

    private func made(_ value: String?, skips: Bool = false) -> Outcome {
        guard let value, !value.isEmpty else { return skips ? .skip : .none }
        return .entry(RequestDescriptor.Entry(key: key, value: value))
    }
}
