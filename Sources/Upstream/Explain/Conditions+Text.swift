internal import Serialization

// Conditions in words: what was wanted, and what there was.

extension RouteMatcher {
    func explain(
        _ condition: RouteCondition, _ request: borrowing some RequestView & ~Copyable & ~Escapable,
        path otherPath: [UInt8]?, random: UInt64, facts: some RouteFacts
    ) -> RouteExplanation.Refusal {
        func refusal(_ path: String, _ reason: String) -> RouteExplanation.Refusal {
            RouteExplanation.Refusal(path: "match." + path, reason: reason)
        }
        switch condition {
        case .path:
            if case .connect = path {
                return refusal("connect_matcher", "the method is \(Text.quoted(request.method)), CONNECT wanted")
            }
            let shown = otherPath ?? Bytes.copy(request.path)
            return refusal(path.field, "the path is \(Text.quoted(shown.span)), \(path.text) wanted")
        case .header(let index):
            return refusal("headers[\(index)]", headers[index].explain(request))
        case .queryParameter(let index):
            let parameter = queryParameters[index]
            return refusal(
                "query_parameters[\(index)]",
                "the query is \(Text.quoted(request.path.extracting(Query.range(request.path)))), \(parameter.text) wanted"
            )
        case .grpc: return refusal("grpc", "the request is no gRPC request (content-type: application/grpc)")
        case .runtimeFraction:
            let share = runtimeFraction?.fraction(facts) ?? .none
            let key = runtimeFraction?.key.map { " (runtime key \($0))" } ?? ""
            return refusal("runtime_fraction", "the draw is not among the \(share.text)\(key)")
        case .cookie(let index):
            guard let rest, rest.cookies.indices.contains(index) else { return refusal("cookies[\(index)]", "") }
            let cookie = rest.cookies[index]
            let name = String(decoding: cookie.name, as: UTF8.self)
            let found = Cookies.value(of: cookie.name, in: request)
            return refusal(
                "cookies[\(index)]",
                "cookie \(name) is \(found.map { Text.quoted($0.span) } ?? "not there"), "
                    + "\(cookie.isInverted ? "not " : "")\(cookie.value.text) wanted")
        case .certificateIsPresented:
            return refusal(
                "tls_context.presented",
                "the client \(facts.clientCertificate?.isPresented == true ? "showed a" : "showed no") certificate")
        case .certificateIsValidated:
            return refusal(
                "tls_context.validated",
                "the client's certificate \(facts.clientCertificate?.isValidated == true ? "is" : "is not") validated")
        case .metadata(let index):
            guard let rest, rest.metadata.indices.contains(index) else { return refusal("dynamic_metadata", "") }
            let matcher = rest.metadata[index]
            var value = facts.metadata(matcher.namespace)
            for key in matcher.path { value = value?[key] }
            return refusal(
                "dynamic_metadata[\(index)]",
                "\(matcher.namespace) \(matcher.path.joined(separator: ".")) is "
                    + (value.map { "\($0.string ?? "another value")" } ?? "not there"))
        case .filterState(let index):
            guard let rest, rest.filterState.indices.contains(index) else { return refusal("filter_state", "") }
            let (key, matcher) = rest.filterState[index]
            let found = facts.filterState(key).map { "\"\($0)\"" } ?? "not there"
            return refusal("filter_state[\(index)]", "\(key) is \(found), \(matcher.text) wanted")
        }
    }
}

extension HeaderMatcher {
    /// What the request has, and what is wanted.
    public func explain(_ request: borrowing some RequestView & ~Copyable & ~Escapable) -> String {
        var values: [String] = []
        if name.isPseudo {
            if let value = request.pseudoHeader(name), !value.isEmpty { values.append(Text.plain(value)) }
        } else {
            var next = request.nextField(named: name, from: 0)
            while let index = next {
                values.append(Text.plain(request.fieldValue(at: index)))
                next = request.nextField(named: name, from: index + 1)
            }
        }
        let there = values.isEmpty ? "is not there" : "is \"\(values.joined(separator: ","))\""
        return "\(name) \(there), \(text) wanted"
    }

    /// The condition in words: `exact "jason"`.
    public var text: String {
        let inner: String =
            switch condition {
            case .present(let wanted): wanted ? "present" : "absent"
            case .value(let matcher): matcher.text
            case .range(let start, let end): "a number in [\(start), \(end))"
            }
        return (isInverted ? "not " : "") + inner + (treatsMissingAsEmpty ? " (absent counts as empty)" : "")
    }
}

extension QueryParameterMatcher {
    /// The condition in words.
    var text: String {
        let key = String(decoding: name, as: UTF8.self)
        return switch condition {
        case .present(let wanted): "\(key) \(wanted ? "present" : "absent")"
        case .value(let matcher): "\(key) with \(matcher.text)"
        }
    }
}

extension StringMatcher {
    /// The condition in words: `prefix "/a"`.
    public var text: String {
        func words(_ kind: String, _ bytes: [UInt8], _ ignoringCase: Bool) -> String {
            "\(kind) \(Text.quoted(bytes.span))\(ignoringCase ? " in either case" : "")"
        }
        return switch self {
        case .exact(let bytes, let ignoringCase): words("exact", bytes, ignoringCase)
        case .prefix(let bytes, let ignoringCase): words("prefix", bytes, ignoringCase)
        case .suffix(let bytes, let ignoringCase): words("suffix", bytes, ignoringCase)
        case .contains(let bytes, let ignoringCase): words("containing", bytes, ignoringCase)
        case .regex(let expression): "regex \(expression.pattern)"
        }
    }
}

extension PathMatcher {
    /// The field of `RouteMatch` that says it.
    var field: String {
        switch self {
        case .prefix: "prefix"
        case .path: "path"
        case .pathSeparatedPrefix: "path_separated_prefix"
        case .regex: "safe_regex"
        case .template: "path_match_policy"
        case .connect: "connect_matcher"
        }
    }

    /// The condition in words.
    public var text: String {
        func words(_ kind: String, _ bytes: [UInt8], _ ignoringCase: Bool) -> String {
            "\(kind) \(Text.quoted(bytes.span))\(ignoringCase ? " in either case" : "")"
        }
        return switch self {
        case .prefix(let bytes, let ignoringCase): words("prefix", bytes, ignoringCase)
        case .path(let bytes, let ignoringCase): words("path", bytes, ignoringCase)
        case .pathSeparatedPrefix(let bytes, let ignoringCase):
            words("prefix of whole elements", bytes, ignoringCase)
        case .regex(let expression): "regex \(expression.pattern)"
        case .template(let template): "template \(template.text)"
        case .connect: "CONNECT"
        }
    }
}

extension Fraction {
    /// `5/100`, with what runtime makes of it.
    public var text: String {
        if let override = runtime?.fraction {
            return "\(override.numerator)/\(override.denominator) (runtime key \(runtime?.key ?? ""))"
        }
        return "\(numerator)/\(denominator)"
    }
}

extension Route {
    /// What it asks of the path, in words.
    public var pathText: String { match.path.text }
}

extension HeaderMutation {
    /// `add x-a: b`, `remove x-a`.
    public var text: String {
        switch operation {
        case .remove: "remove \(name)"
        case .append(let template): "append \(name): \(template.text)"
        case .addIfAbsent(let template): "add \(name): \(template.text), unless it is there"
        case .overwriteOrAdd(let template): "set \(name): \(template.text)"
        case .overwriteIfPresent(let template): "overwrite \(name): \(template.text), if it is there"
        }
    }
}

extension HeaderTemplate {
    /// As it was configured.
    public var text: String {
        segments.map { segment in
            switch segment {
            case .literal(let bytes): String(decoding: bytes, as: UTF8.self)
            case .command(let name, let argument, let limit):
                "%\(name)\(argument.map { "(\($0))" } ?? "")\(limit.map { ":\($0)" } ?? "")%"
            }
        }.joined()
    }
}

extension RetryPolicy {
    /// Envoy's `retry_on` words.
    public var conditionWords: [String] { conditions.words }
}

extension RetryPolicy.Conditions {
    /// Envoy's `retry_on` words.
    public var words: [String] {
        let words: [(RetryPolicy.Conditions, String)] = [
            (.serverError, "5xx"), (.gatewayError, "gateway-error"), (.connectFailure, "connect-failure"),
            (.reset, "reset"), (.resetBeforeRequest, "reset-before-request"), (.refusedStream, "refused-stream"),
            (.retriable4xx, "retriable-4xx"), (.retriableStatusCodes, "retriable-status-codes"),
            (.retriableHeaders, "retriable-headers"), (.envoyRateLimited, "envoy-ratelimited"),
            (.http3PostConnectFailure, "http3-post-connect-failure"), (.grpcCancelled, "cancelled"),
            (.grpcDeadlineExceeded, "deadline-exceeded"), (.grpcResourceExhausted, "resource-exhausted"),
            (.grpcInternal, "internal"), (.grpcUnavailable, "unavailable"),
        ]
        return words.filter { contains($0.0) }.map(\.1)
    }
}

extension WeightedClusters {
    /// Each cluster's weight, in their order.
    public var weights: [UInt64] {
        var before: UInt64 = 0
        return cumulativeWeights.map { sum in
            defer { before = sum }
            return sum - before
        }
    }
}

extension HashPolicy {
    /// What it hashes, in words.
    public var text: String {
        let inner: String =
            switch source {
            case .header(let name, _): "header \(name)"
            case .cookie(let name, _, _, _): "cookie \(String(decoding: name, as: UTF8.self))"
            case .sourceAddress: "source address"
            case .queryParameter(let name): "query parameter \(String(decoding: name, as: UTF8.self))"
            case .filterState(let key): "filter state \(key)"
            }
        return inner + (isTerminal ? " (terminal)" : "")
    }
}

extension Host.Conditions {
    /// As `/clusters` names them.
    public var words: [String] {
        let words: [(Host.Conditions, String)] = [
            (.endpointUnhealthy, "failed_eds_health"), (.draining, "draining"), (.degraded, "degraded"),
            (.failedActiveCheck, "failed_active_hc"), (.ejected, "failed_outlier_check"), (.removed, "removed"),
            (.degradedByCheck, "degraded_active_hc"), (.excluded, "excluded_via_immediate_hc_fail"),
            (.unchecked, "pending_active_hc"), (.checkTimedOut, "active_hc_timeout"),
        ]
        return words.filter { contains($0.0) }.map(\.1)
    }
}

/// Bytes of requests as text.
enum Text {
    /// More is cut.
    static let limit = 512

    static func plain(_ bytes: borrowing Span<UInt8>) -> String {
        let count = min(bytes.count, limit)
        return String(decoding: Bytes.copy(bytes.extracting(0..<count)), as: UTF8.self)
            + (bytes.count > count ? "…" : "")
    }

    static func quoted(_ bytes: borrowing Span<UInt8>) -> String { "\"\(plain(bytes))\"" }
}
