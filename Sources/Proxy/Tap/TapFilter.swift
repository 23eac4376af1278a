internal import HTTP
internal import IO
internal import Upstream

/// Which requests somebody wants to see as they happen.
struct TapFilter: Sendable {
    /// Why a filter cannot be read.
    struct Refusal: Error {
        var message: String
    }

    /// Through listeners for traffic that leaves, or the others.
    var isOutbound: Bool?
    var method: [UInt8]?
    var pathPrefix: [UInt8]?
    /// From the first to the last.
    var statuses: ClosedRange<UInt16>?
    var flags: ResponseFlags?
    /// The host of the cluster, or the first names of it.
    var cluster: String?
    /// Addresses that the client has one of.
    var sources: Set<IPAddress>?
    /// Names and values of fields are shown, credentials excepted.
    var showsHeaders = false
    /// Events in a second.
    var rate = 200

    init(_ query: [(name: String, value: String)]) throws(Refusal) {
        for (name, value) in query {
            switch name {
            case "direction":
                guard ["inbound", "outbound"].contains(value) else {
                    throw Refusal(message: "direction: inbound and outbound are known")
                }
                isOutbound = value == "outbound"
            case "method": method = Array(value.utf8)
            case "path": pathPrefix = Array(value.utf8)
            case "status": statuses = try Self.statuses(value)
            case "flag":
                guard let flag = ResponseFlags(letters: value) else {
                    throw Refusal(message: "flag: \(value) is no response flag such as UH")
                }
                flags = flag
            case "cluster": cluster = value
            case "source":
                var found: Set<IPAddress> = []
                for part in value.split(separator: ",") {
                    guard let address = IPAddress(String(part)) else {
                        throw Refusal(message: "source: \(part) is no IP address")
                    }
                    found.insert(address)
                }
                sources = found
            case "headers": showsHeaders = value != "false"
            case "rate":
                guard let number = Int(value), (1...Limits.tapRate).contains(number) else {
                    throw Refusal(message: "rate: a number from 1 to \(Limits.tapRate)")
                }
                rate = number
            default:
                throw Refusal(
                    message:
                        "\(name): direction, method, path, status, flag, cluster, source, headers and rate are known")
            }
        }
    }

    /// `503`, or `5xx`.
    private static func statuses(_ text: String) throws(Refusal) -> ClosedRange<UInt16> {
        if text.utf8.count == 3, text.hasSuffix("xx"), let digit = UInt16(text.prefix(1)), (1...5).contains(digit) {
            return digit * 100...digit * 100 + 99
        }
        guard let number = UInt16(text), (100...599).contains(number) else {
            throw Refusal(message: "status: \(text) is no status such as 503 or 5xx")
        }
        return number...number
    }

    /// Whether a request that has ended is one of those.
    func wants(_ stream: HTTPStream) -> Bool {
        if let isOutbound, stream.manager.config.isEgress != isOutbound { return false }
        if let statuses, !statuses.contains(stream.info.status) { return false }
        if let flags, stream.info.flags.isDisjoint(with: flags) { return false }
        if let method, stream.request.methodBytes != method { return false }
        if let pathPrefix {
            let path = stream.originalPath ?? stream.request.pathBytes
            guard path.starts(with: pathPrefix) else { return false }
        }
        if let cluster {
            // outbound|80|subset|host
            let host = (stream.info.upstreamCluster ?? "").split(separator: "|").last ?? ""
            guard host == cluster || host.hasPrefix(cluster + ".") else { return false }
        }
        if let sources {
            guard let address = stream.connectionInfo.directRemoteAddress.address, sources.contains(address) else {
                return false
            }
        }
        return true
    }
}
