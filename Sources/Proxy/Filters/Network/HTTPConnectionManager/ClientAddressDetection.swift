internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// Where the client's address comes from, behind other proxies: `original_ip_detection_extensions`.
enum ClientAddressDetection: Sendable {
    /// `x-forwarded-for`: the member that many from the right, or, with trusted ranges, the first from the right outside of them.
    case forwardedFor(hops: Int, trusted: [Prefix], appends: Bool)
    /// A field of its own. `isTrusted`: who is found there may count as internal. Who has none is refused with a status, where one is set.
    case field(name: String, isTrusted: Bool, refusal: UInt16?)

    /// What one of them found.
    enum Finding {
        case nothing
        case client(IPAddress, isSingle: Bool)
        case refuse(UInt16)
    }

    /// The peer goes to the end of `x-forwarded-for`, whether a client was found or not (as Envoy: the last one asked decides).
    ///
    /// - Parameter peer: who is at the other end of the connection.
    func appendsPeer(_ peer: IPAddress?) -> Bool {
        guard case .forwardedFor(_, let trusted, let appends) = self else { return false }
        // Who is not trusted is added in any case.
        return appends || !trusted.isEmpty && !(peer.map { Self.isTrusted($0, trusted) } ?? false)
    }

    private static func isTrusted(_ address: IPAddress, _ ranges: [Prefix]) -> Bool {
        ranges.contains { $0.contains(address.canonical) }
    }

    static func compile(
        _ message: HttpConnectionManager, at path: String
    ) throws(ConfigurationError) -> [ClientAddressDetection] {
        var result: [ClientAddressDetection] = []
        let list = message.originalIpDetectionExtensions
        let place = path + ".original_ip_detection_extensions"
        guard list.isEmpty || message.useRemoteAddress != true else {
            throw ConfigurationError(at: place, "cannot be mixed with use_remote_address")
        }
        guard list.isEmpty || message.xffNumTrustedHops == 0 else {
            throw ConfigurationError(at: place, "cannot be mixed with xff_num_trusted_hops")
        }
        for (index, item) in list.enumerated() {
            let here = "\(place)[\(index)].typed_config"
            guard let any = item.typedConfig else { throw ConfigurationError(at: here, "is missing") }
            if any.holds(CustomHeaderConfig.self) {
                result.append(try field(try HTTPFilters.decode(any, as: CustomHeaderConfig.self, at: here), here))
            } else if any.holds(XffConfig.self) {
                result.append(try forwardedFor(try HTTPFilters.decode(any, as: XffConfig.self, at: here), here))
            } else {
                throw ConfigurationError(at: here, "\(any.name) is no known way to find a client's address")
            }
        }
        return result
    }

    private static func field(
        _ message: CustomHeaderConfig, _ path: String
    ) throws(ConfigurationError) -> ClientAddressDetection {
        guard !message.headerName.isEmpty else { throw ConfigurationError(at: path + ".header_name", "is empty") }
        return .field(
            name: message.headerName.lowercased(), isTrusted: message.allowExtensionToSetAddressAsTrusted,
            refusal: message.rejectWithStatus.map { status in
                // As Envoy: what is no error is Forbidden.
                let code = UInt16(clamping: status.code.rawValue)
                return code < 400 ? 403 : code
            })
    }

    private static func forwardedFor(
        _ message: XffConfig, _ path: String
    ) throws(ConfigurationError) -> ClientAddressDetection {
        guard message.xffTrustedCidrs == nil || message.xffNumTrustedHops == 0 else {
            throw ConfigurationError(at: path, "set xff_num_trusted_hops or xff_trusted_cidrs, not both")
        }
        var ranges: [Prefix] = []
        for (index, range) in (message.xffTrustedCidrs?.cidrs ?? []).enumerated() {
            guard let address = IPAddress(range.addressPrefix),
                let prefix = Prefix(address, length: Int(range.prefixLen ?? 0))
            else {
                throw ConfigurationError(
                    at: "\(path).xff_trusted_cidrs.cidrs[\(index)]",
                    "\(range.addressPrefix)/\(range.prefixLen ?? 0) is no address range")
            }
            ranges.append(prefix)
        }
        return .forwardedFor(
            hops: Int(clamping: message.xffNumTrustedHops), trusted: ranges, appends: message.skipXffAppend == false)
    }

    /// - Parameter peer: who is at the other end of the connection.
    func find(in headers: borrowing HeaderTable, peer: IPAddress?) -> Finding {
        switch self {
        case .field(let name, let isTrusted, let refusal):
            if let text = headers[name], let address = IPAddress(text) {
                return .client(address, isSingle: isTrusted)
            }
            return refusal.map { .refuse($0) } ?? .nothing
        case .forwardedFor(let hops, let trusted, _):
            guard !trusted.isEmpty else {
                return Self.member(hops, of: headers).map { .client($0, isSingle: $1) } ?? .nothing
            }
            guard let peer, Self.isTrusted(peer, trusted) else { return .nothing }
            var last: IPAddress?
            let members = Self.members(of: headers)
            for member in members.reversed() {
                guard let found = Self.address(member) else { return .nothing }
                last = found
                if !Self.isTrusted(found, trusted) { break }
            }
            return last.map { .client($0, isSingle: members.count == 1) } ?? .nothing
        }
    }

    /// The address that many members from the right of `x-forwarded-for`, and whether it is the only one.
    static func member(_ hops: Int, of headers: borrowing HeaderTable) -> (IPAddress, isSingle: Bool)? {
        let members = members(of: headers)
        guard hops < members.count, let address = address(members[members.count - 1 - hops]) else { return nil }
        return (address, members.count == 1)
    }

    private static func members(of headers: borrowing HeaderTable) -> [Substring] {
        headers[.xForwardedFor]?.split(separator: ",", omittingEmptySubsequences: false) ?? []
    }

    private static func address(_ member: Substring) -> IPAddress? {
        IPAddress(String(member.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()))
    }
}
