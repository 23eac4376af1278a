internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// A request to explain, and the connection it would come on.
struct ExplainQuestion: Sendable {
    /// The listener's name, its address, or its port.
    var listener = ""
    var method = "GET"
    var authority = ""
    var path = "/"
    var headers: [(name: String, value: String)] = []
    /// The client; nil is this machine.
    var source: IO.SocketAddress?
    /// Where the client wanted to go; nil is the listener's address.
    var destination: IO.SocketAddress?
    /// The client speaks TLS.
    var usesTLS = false
    var serverName: String?
    var applicationProtocols: [String] = []
    /// The name in the client's certificate: a URI or a host.
    var principal: String?
    var usesHTTP2 = false
    /// It was recorded: credentials and query values are not there.
    var isRecorded = false
    /// The certificates that the client shows, DER, leaf first: they are verified as in a handshake.
    var clientChain: [[UInt8]] = []
    /// Those that the chosen host shows.
    var hostChain: [[UInt8]] = []
    /// How the tries end: what the host answers, or how the connection ends.
    var tries: [TryEnding] = []
    /// All draws follow from it: weights, percentages, the choice of a host.
    var seed: UInt64 = 1

    /// Most fields that a question may have.
    static let fieldsMax = 200

    init() {}

    /// `GET http://reviews/x`, or a URL or a path alone.
    mutating func take(request text: String) throws(UsageError) {
        var rest = text.split(separator: " ", omittingEmptySubsequences: true).map { String($0) }
        guard let first = rest.first, rest.count <= 2 else {
            throw UsageError("\"\(text)\" is no request such as 'GET http://reviews/x'")
        }
        if rest.count == 2 {
            method = first
            rest.removeFirst()
        }
        take(url: rest[0])
    }

    /// `http://host/path`, or a path.
    mutating func take(url: String) {
        if url.hasPrefix("/") || url == "*" {
            path = url
            return
        }
        var rest = url[...]
        for scheme in ["https://", "http://"] where rest.hasPrefix(scheme) {
            rest = rest.dropFirst(scheme.utf8.count)
            if scheme == "https://" { usesTLS = true }
        }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        authority = String(rest[..<end])
        let target = String(rest[end...])
        path = target.hasPrefix("/") ? target : "/" + target
        // As a client would: the name that the certificate must be good for.
        if usesTLS, serverName == nil {
            let host = authority.split(separator: ":").first.map { String($0) } ?? ""
            if !host.isEmpty, IPAddress(host) == nil { serverName = host }
        }
    }

    /// `name: value`.
    mutating func take(header line: String) throws(UsageError) {
        guard let colon = line.dropFirst().firstIndex(of: ":") else {
            throw UsageError("header \"\(line)\" is no 'name: value'")
        }
        guard headers.count < Self.fieldsMax else { throw UsageError("more than \(Self.fieldsMax) headers") }
        let name = line[..<colon].lowercased()
        let value = String(line[line.index(after: colon)...].drop { $0 == " " })
        switch name {
        case "host", ":authority": authority = value
        case ":method": method = value
        case ":path": path = value
        default: headers.append((name, value))
        }
    }

    mutating func take(source text: String) throws(UsageError) {
        source = try Self.address(text, "source", port: 40000)
    }

    mutating func take(destination text: String) throws(UsageError) {
        destination = try Self.address(text, "destination", port: nil)
    }

    private static func address(_ text: String, _ what: String, port: UInt16?) throws(UsageError) -> IO.SocketAddress {
        if let address = IO.SocketAddress(parsing: text) { return address }
        if let port, let address = IPAddress(text) { return .ip(address, port: port) }
        throw UsageError("\(what): \(text) is no address such as 10.0.0.1:1234")
    }

    /// From the query of `/explain`.
    init(query: [(name: String, value: String)]) throws(UsageError) {
        for (name, value) in query {
            switch name {
            case "listener": listener = value
            case "method": method = value
            case "url": take(url: value)
            case "request": try take(request: value)
            case "authority", "host": authority = value
            case "path": path = value
            case "header": try take(header: value)
            case "source": try take(source: value)
            case "destination": try take(destination: value)
            case "sni":
                serverName = value
                usesTLS = true
            case "alpn":
                applicationProtocols = value.split(separator: ",").map { String($0) }
                usesTLS = true
            case "principal":
                principal = value
                usesTLS = true
            case "tls": usesTLS = value != "0" && value != "false"
            case "http2": usesHTTP2 = value != "0" && value != "false"
            case "seed":
                guard let number = UInt64(value) else { throw UsageError("seed: \(value) is no number") }
                seed = number
            case "client_chain":
                clientChain = try Self.chain(value)
                usesTLS = true
            case "answer": tries = try TryEnding.list(value)
            case "host_chain": hostChain = try Self.chain(value)
            case "format", "worker", "demand": break
            default: throw UsageError("unknown parameter \(name); see /explain without parameters")
            }
        }
    }

    /// Certificates in URL-safe Base64 without padding, with commas between.
    private static func chain(_ text: String) throws(UsageError) -> [[UInt8]] {
        var chain: [[UInt8]] = []
        for part in text.split(separator: ",") {
            guard chain.count < chainMax, let der = Base64.decode(String(part)) else {
                throw UsageError("a chain is at most \(chainMax) certificates in URL-safe Base64 with commas between")
            }
            chain.append(der)
        }
        return chain
    }

    /// Most certificates of a chain.
    private static let chainMax = 8

    /// The request's head, as a codec would hand it over.
    func head() throws(UsageError) -> RequestHead {
        var head = RequestHead()
        do {
            try head.setMethod(token: Array(method.utf8).span.bytes)
        } catch {
            throw UsageError("\(method) is no method")
        }
        do {
            try head.setAuthority(Array(authority.utf8).span.bytes)
            try head.setPath(Array(path.utf8).span.bytes)
        } catch {
            throw UsageError("\(authority) \(path): blanks and control characters cannot stand there")
        }
        var isUpgrade = false
        for (name, value) in headers {
            do {
                try head.headers.append(name, value)
            } catch {
                throw UsageError("\(name): \(value) is no header field")
            }
            if name == "connection", value.lowercased().contains("upgrade") { isUpgrade = true }
        }
        if isUpgrade, let protocolName = head.headers[.upgrade] { head.makeUpgrade(protocolName) }
        return head
    }
}
