import EnvoyAPI
import KubernetesAPI
import Serialization

/// Istio's redirects, direct responses, faults and header operations as Envoy's.
enum Actions {
    static func redirect(_ redirect: VirtualService.HTTPRedirect) -> RedirectAction {
        var action = RedirectAction()
        if !redirect.uri.isEmpty { action.pathRewriteSpecifier = .pathRedirect(redirect.uri) }
        if !redirect.prefixRewrite.isEmpty {
            action.pathRewriteSpecifier = .prefixRewrite(redirect.prefixRewrite)
        }
        action.hostRedirect = redirect.authority
        if !redirect.scheme.isEmpty { action.schemeRewriteSpecifier = .schemeRedirect(redirect.scheme) }
        if let port = redirect.port {
            // H-15: the default port of the scheme is not written.
            let isDefault = (redirect.scheme == "http" && port == 80) || (redirect.scheme == "https" && port == 443)
            if !isDefault { action.portRedirect = UInt32(clamping: port) }
        } else if redirect.derivePort == "FROM_PROTOCOL_DEFAULT" && redirect.scheme == "https" {
            action.portRedirect = 443
        }
        switch redirect.redirectCode {
        case 302: action.responseCode = .found
        case 303: action.responseCode = .seeOther
        case 307: action.responseCode = .temporaryRedirect
        case 308: action.responseCode = .permanentRedirect
        default: action.responseCode = .movedPermanently
        }
        return action
    }

    /// The longest body of a direct response, in bytes: a proxy that is not told takes 4,096.
    static let bodyBytesMax = 1 << 20

    static func directResponse(status: Int, text: String? = nil, base64: String? = nil) -> DirectResponseAction {
        var action = DirectResponseAction()
        action.status = UInt32(clamping: status)
        if let text {
            var body = DataSource()
            body.specifier = .inlineString(text)
            action.body = body
        } else if let base64, let bytes = Base64.decode(base64) {
            var body = DataSource()
            body.specifier = .inlineBytes(bytes)
            action.body = body
        }
        return action
    }

    /// H-19: preflights of other origins go on to the application unless the policy says otherwise.
    static func cors(_ policy: VirtualService.CorsPolicy) -> CorsFilterPolicy {
        var message = CorsFilterPolicy()
        message.allowOriginStringMatch = policy.allowOrigins.map { origin in
            Matches.string(origin) ?? Matches.anything
        }
        message.allowMethods = policy.allowMethods.joined(separator: ",")
        message.allowHeaders = policy.allowHeaders.joined(separator: ",")
        message.exposeHeaders = policy.exposeHeaders.joined(separator: ",")
        if let age = policy.maxAge { message.maxAge = String(age.components.seconds) }
        message.allowCredentials = policy.allowCredentials
        message.forwardNotMatchingPreflights = !policy.ignoresUnmatchedPreflights
        var enabled = RuntimeFractionalPercent()
        enabled.defaultValue = percent(100)
        message.filterEnabled = enabled
        return message
    }

    /// H-17: an absent percentage injects nothing.
    static func fault(_ fault: VirtualService.HTTPFaultInjection) -> HTTPFault? {
        var message = HTTPFault()
        if let delay = fault.fixedDelay, fault.delayPercent > 0 {
            var part = FaultDelay()
            part.faultDelaySecifier = .fixedDelay(delay)
            part.percentage = percent(fault.delayPercent)
            message.delay = part
        }
        if fault.abortPercent > 0 {
            var part = FaultAbort()
            if let status = fault.abortStatus {
                part.errorType = .httpStatus(UInt32(clamping: status))
            } else if let status = fault.abortGRPCStatus.flatMap(grpcStatus) {
                part.errorType = .grpcStatus(status)
            }
            part.percentage = percent(fault.abortPercent)
            if part.errorType != nil { message.abort = part }
        }
        return message.delay == nil && message.abort == nil ? nil : message
    }

    static func percent(_ share: Double) -> FractionalPercent {
        var message = FractionalPercent()
        message.numerator = share.isFinite ? UInt32((min(max(share, 0), 100) * 10_000).rounded()) : 0
        message.denominator = .million
        return message
    }

    /// The number of a gRPC status, given by name or number.
    static func grpcStatus(_ name: String) -> UInt32? {
        let names = [
            "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
            "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
            "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
        ]
        return UInt32(name) ?? names.firstIndex(of: name).map { UInt32($0) }
    }

    /// H-14: what is added or overwritten, without the authority, which is a host rewrite.
    ///
    /// Proxies remove before they add; the order of a rule is set, add, remove, so what is removed is not added at all.
    static func additions(_ operations: VirtualService.HeaderOperations?) -> [HeaderValueOption] {
        guard let operations else { return [] }
        let removed = Set(operations.remove.map { $0.lowercased() })
        func kept(_ fields: [String: String]) -> [(key: String, value: String)] {
            fields.filter { !isAuthority($0.key) && !removed.contains($0.key.lowercased()) }.sorted { $0.key < $1.key }
        }
        let overwritten = kept(operations.set)
        let appended = kept(operations.add)
        return overwritten.map { option($0.key, $0.value, .overwriteIfExistsOrAdd) }
            + appended.map { option($0.key, $0.value, .appendIfExistsOrAdd) }
    }

    static func removals(_ operations: VirtualService.HeaderOperations?) -> [String] {
        (operations?.remove ?? []).filter { !$0.hasPrefix(":") && $0.lowercased() != "host" }
    }

    /// H-14: the authority that `set` asks for.
    static func authority(_ operations: VirtualService.HeaderOperations?) -> String? {
        operations?.set.sorted { $0.key < $1.key }.first { isAuthority($0.key) }?.value
    }

    private static func isAuthority(_ name: String) -> Bool {
        name.hasPrefix(":") || name.lowercased() == "host"
    }

    private static func option(
        _ name: String, _ value: String, _ action: HeaderValueOption.HeaderAppendAction
    ) -> HeaderValueOption {
        var option = HeaderValueOption()
        var header = HeaderValue()
        header.key = name
        header.value = value
        option.header = header
        option.appendAction = action
        return option
    }
}
