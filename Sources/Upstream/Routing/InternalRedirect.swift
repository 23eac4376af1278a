/// Redirects that the proxy follows itself.
public struct InternalRedirectPolicy: Sendable {
    /// How often for one request.
    public var redirectsMax: UInt32 = 1
    /// Statuses that are followed.
    public var statuses: [UInt16] = [302]
    /// From `https` to `http` and back as well.
    public var allowsOtherScheme = false
    /// From `http` to `https` only where the client came by TLS.
    public var crossesSafely = false
    /// Only to routes with these names; nil is any.
    public var allowedRoutes: Set<String>?
    /// Never to a route that the request has been on.
    public var avoidsPreviousRoutes = false
    /// Response fields that the new request gets.
    public var copiedHeaders: [HeaderName] = []

    /// The target of a `Location`.
    public struct Target: Sendable, Hashable {
        /// `http` or `https`.
        public var scheme: [UInt8]
        /// Host with port.
        public var authority: [UInt8]
        /// Path with query.
        public var path: [UInt8]

        /// Reads a `Location`; relative ones go to the same authority.
        ///
        /// Nil when it is no http(s) address.
        public init?(
            location: borrowing Span<UInt8>, scheme: borrowing Span<UInt8>, authority: borrowing Span<UInt8>
        ) {
            // A fragment is the client's own business.
            let end = Bytes.firstIndex(of: 0x23, in: location) ?? location.count
            guard end > 0 else { return nil }
            if location[0] == 0x2F, end < 2 || location[1] != 0x2F {
                self.scheme = Bytes.copy(scheme)
                self.authority = Bytes.copy(authority)
                path = Bytes.copy(location.extracting(0..<end))
                return
            }
            guard let colon = Bytes.firstIndex(of: 0x3A, in: location), colon + 3 < end,
                location[colon + 1] == 0x2F, location[colon + 2] == 0x2F
            else { return nil }
            self.scheme = Bytes.copy(location.extracting(0..<colon)).map { Bytes.lowercased($0) }
            guard self.scheme == Array("http".utf8) || self.scheme == Array("https".utf8) else { return nil }
            var index = colon + 3
            while index < end, location[index] != 0x2F, location[index] != 0x3F { index += 1 }
            guard index > colon + 3 else { return nil }
            self.authority = Bytes.copy(location.extracting((colon + 3)..<index))
            // User information never goes into an authority.
            guard !self.authority.contains(0x40) else { return nil }
            path = Bytes.copy(location.extracting(index..<end))
            if path.first != 0x2F { path.insert(0x2F, at: 0) }
        }
    }

    /// Envoy's defaults.
    public init() {}

    /// Whether a response of this status is followed at all.
    public func follows(status: UInt16, redirectsSoFar: UInt32) -> Bool {
        redirectsSoFar < redirectsMax && statuses.contains(status)
    }

    /// Whether the scheme may change so.
    public func allows(schemeTo target: Target, clientUsesTLS: Bool) -> Bool {
        let isSame = (target.scheme == Array("https".utf8)) == clientUsesTLS
        if isSame { return true }
        guard allowsOtherScheme else { return false }
        return !crossesSafely || clientUsesTLS
    }

    /// Whether the request may go to this route.
    ///
    /// - Parameter previous: The routes that it has been on.
    public func allows(route: Route, previous: [Route]) -> Bool {
        if let allowedRoutes, !allowedRoutes.contains(route.name) { return false }
        return !avoidsPreviousRoutes || !previous.contains { $0 === route }
    }
}

/// Copies of requests to another cluster, whose responses nobody reads (H-16).
public struct MirrorPolicy: Sendable {
    /// How the cluster is named.
    public enum Destination: Sendable {
        /// This one.
        case cluster(String)
        /// The value of a request header names it.
        case header(HeaderName)
    }

    /// How the cluster is named.
    public var destination: Destination
    /// Which requests; nil is all.
    public var share: RuntimeFraction?
    /// Whether `-shadow` is appended to the authority.
    public var appendsShadow = true
    /// Changes to the copy.
    public var mutations: [HeaderMutation] = []
    /// The copy's authority; nil is the request's.
    public var hostRewrite: [UInt8]?

    /// The cluster for a request; nil when the request is not copied.
    public func cluster(
        for request: borrowing some RequestView & ~Copyable & ~Escapable, facts: some RouteFacts, random: UInt64
    ) -> String? {
        if let share, !share.fraction(facts).includes(random: random) { return nil }
        switch destination {
        case .cluster(let name): return name
        case .header(let name):
            guard let index = request.nextField(named: name, from: 0) else { return nil }
            let value = request.fieldValue(at: index)
            return value.isEmpty ? nil : String(decoding: Bytes.copy(value), as: UTF8.self)
        }
    }

    /// The authority of the copy: `a.com-shadow`, `a.com-shadow:8080`.
    public func authority(of original: borrowing Span<UInt8>) -> [UInt8] {
        if let hostRewrite { return hostRewrite }
        guard appendsShadow else { return Bytes.copy(original) }
        let count = DomainTable.countWithoutPort(original)
        var result = Bytes.copy(original.extracting(0..<count))
        result.append(contentsOf: "-shadow".utf8)
        Bytes.append(original.extracting(count..<original.count), to: &result)
        return result
    }
}

/// A second try while the first is still under way.
public struct HedgePolicy: Sendable, Hashable {
    /// A try that takes longer than the per-try timeout is not given up: another runs beside it, the first answer wins.
    public var hedgesOnPerTryTimeout = false
}

/// Requests counted apart inside a virtual host (`virtual_clusters`).
public struct VirtualCluster: Sendable {
    /// Its name, in `vhost.<host>.vcluster.<name>`.
    public let name: String
    /// Which requests.
    let headers: [HeaderMatcher]

    func matches(_ request: borrowing some RequestView & ~Copyable & ~Escapable) -> Bool {
        for header in headers where !header.matches(request) { return false }
        return true
    }
}
