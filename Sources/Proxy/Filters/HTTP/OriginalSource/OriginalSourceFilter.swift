internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Upstream

/// `envoy.filters.http.original_src`: requests go to their hosts from the client's own address.
struct OriginalSourceFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let mark: UInt32

    static let kind = HTTPFilterKind(HTTPOriginalSrc.self) { message, context throws(ConfigurationError) in
        try FieldCheck.check(message, reads: ["mark"], at: context.path)
        return OriginalSourceFilterConfig(name: context.name, isDisabled: context.isDisabled, mark: message.mark)
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { OriginalSourceFilter(mark: mark) }
}

/// Puts down where the request's connection comes from.
final class OriginalSourceFilter: HTTPFilter {
    private let mark: UInt32

    let interest: FilterInterest = .requestHead

    init(mark: UInt32) { self.mark = mark }

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        // A unix socket's peer has no address to come from.
        if case .ip(let ip, _) = stream.connectionInfo.remoteAddress {
            stream.connectionInfo.facts.upstreamSource = UpstreamSource(address: .ip(ip, port: 0), mark: mark)
        }
        return .next
    }
}
