internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Upstream

/// What filter looks at and changes of a request; the changes count when the request passes.
struct JWTRequest {
    var headers: HeaderTable
    var path: [UInt8]
    /// Parts of dynamic metadata by key.
    var metadata: [(key: String, value: JSON)] = []
    var clearsRoute = false

    init(headers: HeaderTable, path: [UInt8]) {
        self.headers = headers
        self.path = path
    }
}

/// Where providers' tokens are looked for: headers, then parameters of the query, then cookies.
struct JWTLocations: Sendable {
    /// Whose tokens may stand at a place.
    struct Issuers: Sendable {
        var all = false
        var names: Set<String> = []

        mutating func add(_ issuer: String) {
            if issuer.isEmpty { all = true } else { names.insert(issuer) }
        }

        func allows(_ issuer: String) -> Bool { all || names.contains(issuer) }
    }

    enum Place: Sendable {
        case header(HeaderName, prefix: [UInt8])
        case parameter([UInt8])
        case cookie([UInt8])
    }

    /// A token where it was found.
    struct Found {
        let bytes: [UInt8]
        let place: Int
    }

    private(set) var places: [(place: Place, issuers: Issuers)] = []
    /// Headers that tell the upstream what a token says: no client may send them.
    private(set) var sanitized: [HeaderName] = []

    init(_ providers: [JwtProvider]) {
        var headers: [String: (HeaderName, [UInt8], Issuers)] = [:]
        var parameters: [String: Issuers] = [:]
        var cookies: [String: Issuers] = [:]
        func add(_ header: String, _ prefix: String, _ issuer: String) {
            let name = HeaderName(header)
            headers[name.description + prefix, default: (name, Array(prefix.utf8), Issuers())].2.add(issuer)
        }
        for provider in providers {
            for header in provider.fromHeaders { add(header.name, header.valuePrefix, provider.issuer) }
            for name in provider.fromParams { parameters[name, default: Issuers()].add(provider.issuer) }
            for name in provider.fromCookies { cookies[name, default: Issuers()].add(provider.issuer) }
            if provider.fromHeaders.isEmpty && provider.fromParams.isEmpty && provider.fromCookies.isEmpty {
                add("authorization", "Bearer ", provider.issuer)
                parameters["access_token", default: Issuers()].add(provider.issuer)
            }
            if !provider.forwardPayloadHeader.isEmpty { sanitized.append(HeaderName(provider.forwardPayloadHeader)) }
            for claim in provider.claimToHeaders { sanitized.append(HeaderName(claim.headerName)) }
        }
        for (_, header) in headers.sorted(by: { $0.key < $1.key }) {
            places.append((.header(header.0, prefix: header.1), header.2))
        }
        for (name, issuers) in parameters.sorted(by: { $0.key < $1.key }) {
            places.append((.parameter(Array(name.utf8)), issuers))
        }
        for (name, issuers) in cookies.sorted(by: { $0.key < $1.key }) {
            places.append((.cookie(Array(name.utf8)), issuers))
        }
    }

    func sanitize(_ request: inout JWTRequest) {
        for name in sanitized { request.headers.remove(named: name.bytes.span.bytes) }
    }

    /// The tokens of a request, in the order of the places.
    func tokens(in request: borrowing JWTRequest) -> [Found] {
        var found: [Found] = []
        for (index, entry) in places.enumerated() {
            switch entry.place {
            case .header(let name, let prefix):
                if name.bytes == Self.authorization {
                    // One field by its definition: as in Envoy, further ones are a part of its value.
                    if let token = request.headers.joined(name).flatMap({ Self.token($0, after: prefix) }) {
                        found.append(Found(bytes: token, place: index))
                    }
                    continue
                }
                var start = 0
                while let position = request.headers.index(named: name.bytes.span.bytes, from: start) {
                    start = position + 1
                    let value = [UInt8](copying: request.headers.value(at: position))
                    guard let token = Self.token(value, after: prefix) else { continue }
                    found.append(Found(bytes: token, place: index))
                }
            case .parameter(let name):
                if let value = RequestQuery(request.path).first(name) {
                    found.append(Found(bytes: value, place: index))
                }
            case .cookie(let name):
                if let value = Cookies.value(name, in: request.headers) {
                    found.append(Found(bytes: value, place: index))
                }
            }
        }
        return found
    }

    private static let authorization = Array("authorization".utf8)

    /// Takes a token away from where it was found; cookies stay, as in Envoy.
    func remove(_ found: Found, from request: inout JWTRequest) {
        guard places.indices.contains(found.place) else { return }
        switch places[found.place].place {
        case .header(let name, _): request.headers.remove(named: name.bytes.span.bytes)
        case .parameter(let name): request.path = RequestQuery(request.path).removing(name)
        case .cookie: break
        }
    }

    /// What follows a prefix, from the first byte that a token may have on; nil when the prefix is nowhere in the value.
    static func token(_ value: [UInt8], after prefix: [UInt8]) -> [UInt8]? {
        guard !prefix.isEmpty else { return value }
        guard let start = firstIndex(of: prefix, in: value) else { return nil }
        guard let first = value[(start + prefix.count)...].firstIndex(where: isTokenByte) else { return value }
        return Array(value[first...])
    }

    private static func firstIndex(of part: [UInt8], in value: [UInt8]) -> Int? {
        guard part.count <= value.count else { return nil }
        for start in 0...(value.count - part.count)
        where value[start..<(start + part.count)].elementsEqual(part) {
            return start
        }
        return nil
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}
