internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.credential_injector`: requests get the credential of this workload.
final class CredentialInjectorFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let overwrites: Bool
    let passesWithout: Bool
    let secret: FilterSecret
    let header: String
    let prefix: [UInt8]
    let injected: MetricCounter
    let failed: MetricCounter
    let alreadyExists: MetricCounter

    static let kind = HTTPFilterKind(CredentialInjector.self) { message, context throws(ConfigurationError) in
        try CredentialInjectorFilterConfig(message, context)
    }

    init(_ message: CredentialInjector, _ context: FilterContext) throws(ConfigurationError) {
        name = context.name
        isDisabled = context.isDisabled
        overwrites = message.overwrite
        passesWithout = message.allowRequestWithoutCredential
        let place = context.path + ".credential.typed_config"
        guard let any = message.credential?.typedConfig else { throw ConfigurationError(at: place, "is missing") }
        guard any.holds(GenericCredential.self) else {
            throw ConfigurationError(
                at: place, "\(any.typeURL) is not supported; supported: \(GenericCredential.schema.name)")
        }
        let credential = try HTTPFilters.decode(any, as: GenericCredential.self, at: place)
        header = credential.header.isEmpty ? "authorization" : credential.header.lowercased()
        prefix = Array(credential.headerValuePrefix.utf8)
        var probe = HeaderTable()
        do throws(HTTPFieldError) {
            try probe.append(header, credential.headerValuePrefix + "x")
        } catch {
            throw ConfigurationError(
                at: place + ".header", "\"\(credential.header)\" and its prefix are no header field")
        }
        secret = try FilterSecret(
            credential.credential, at: place + ".credential", secrets: context.compile.secrets)
        let scope = context.scope("credential_injector")
        injected = scope.counter("injected")
        failed = scope.counter("failed")
        alreadyExists = scope.counter("already_exists")
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { CredentialInjectorFilter(self) }
}

/// What becomes of a request's credential.
enum CredentialInjection: Equatable {
    /// The request has one, and it stays.
    case stays
    /// There is none to be had, or it is no value of a header field.
    case fails
    /// This value is put in.
    case value([UInt8])

    /// Pure: the same inputs, the same outcome.
    static func decide(secret: [UInt8]?, prefix: [UInt8], isThere: Bool, overwrites: Bool) -> CredentialInjection {
        if isThere, !overwrites { return .stays }
        guard var value = secret else { return .fails }
        // Files of secrets often end with a line break, which no header field takes.
        while let last = value.last, last == UInt8(ascii: "\n") || last == UInt8(ascii: "\r") { value.removeLast() }
        return value.isEmpty ? .fails : .value(prefix + value)
    }
}

/// The credential of one request.
final class CredentialInjectorFilter: HTTPFilter {
    private let config: CredentialInjectorFilterConfig

    init(_ config: CredentialInjectorFilterConfig) { self.config = config }

    let interest: FilterInterest = .requestHead

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let row = stream.worker.index
        let outcome = CredentialInjection.decide(
            secret: config.secret.value, prefix: config.prefix,
            isThere: stream.request.headers[config.header] != nil, overwrites: config.overwrites)
        switch outcome {
        case .stays:
            config.alreadyExists.add(row: row)
            return .next
        case .value(let value):
            stream.request.headers.remove(named: config.header)
            do throws(HTTPFieldError) {
                try stream.request.headers.append(Array(config.header.utf8).span.bytes, value.span.bytes)
            } catch {
                return fail(stream)
            }
            config.injected.add(row: row)
            return .next
        case .fails: return fail(stream)
        }
    }

    private func fail(_ stream: HTTPStream) -> FilterStep {
        config.failed.add(row: stream.worker.index)
        guard !config.passesWithout else { return .next }
        stream.localReply(
            status: 401, body: "Failed to inject credential.", details: "failed_to_inject_credential")
        return .stop
    }
}
