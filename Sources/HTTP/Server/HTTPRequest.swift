public import IO
public import TLS

/// Who sent a request, as far as the connection tells.
public struct HTTPPeer: Sendable {
    /// The peer's address.
    public var address: SocketAddress?
    /// Process, user and group of a peer on a unix socket, as the kernel knows them.
    public var credentials: Credentials?

    /// The verified certificate of a TLS client.
    public var certificate: Certificate?
    /// The URI names of the verified certificate of a client, where that itself is not kept; nil without one.
    public var uris: [String]?

    /// Process, user and group of a peer on a unix socket.
    public struct Credentials: Sendable, Hashable {
        /// The process when it connected.
        public var pid: Int32
        /// The user when it connected.
        public var uid: UInt32
        /// The group when it connected.
        public var gid: UInt32
    }

    /// Nothing known.
    public init() {}

    /// What a socket tells about its peer.
    public init(of socket: Socket) {
        address = socket.peerAddress
        guard case .unix = socket.localAddress else { return }
        if let found = try? socket.peerCredentials() {
            credentials = Credentials(pid: found.pid, uid: found.uid, gid: found.gid)
        }
    }
}

/// A request as a handler sees it.
public struct HTTPRequest: Sendable {
    /// Method, target and fields.
    public var head: RequestHead
    /// The body, to be read by the handler when it wants it.
    public var body: HTTPRequestBody
    /// Who sent it.
    public var peer: HTTPPeer

    /// The method token.
    public var method: String { head.headers.text(head.methodName) }

    /// The path without its query, percent-encoded as sent.
    public var path: String {
        let target = head.pathText
        return target.firstIndex(of: "?").map { String(target[..<$0]) } ?? target
    }

    /// The query without its question mark; nil when there is none.
    public var query: String? {
        let target = head.pathText
        return target.firstIndex(of: "?").map { String(target[target.index(after: $0)...]) }
    }

    /// The query's names and values in order, percent and plus decoded.
    public var queryItems: [(name: String, value: String)] {
        (query ?? "").split(separator: "&").map { item in
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (PercentEncoding.decoded(parts[0]), parts.count > 1 ? PercentEncoding.decoded(parts[1]) : "")
        }
    }
}

/// Percent-encoding of URL components (RFC 3986 §2.1).
public enum PercentEncoding {
    /// The text with `%XX` resolved and `+` as space; what is no valid escape stays as it is.
    public static func decoded(_ text: some StringProtocol, plusIsSpace: Bool = true) -> String {
        let input = Array(text.utf8)
        var output: [UInt8] = []
        output.reserveCapacity(input.count)
        var position = 0
        while position < input.count {
            let byte = input[position]
            if byte == 0x25, position + 2 < input.count, let high = ASCII.hexValue(input[position + 1]),
                let low = ASCII.hexValue(input[position + 2])
            {
                output.append(high << 4 | low)
                position += 3
                continue
            }
            output.append(byte == 0x2B && plusIsSpace ? ASCII.space : byte)
            position += 1
        }
        return String(decoding: output, as: UTF8.self)
    }

    /// The text with everything but unreserved characters as `%XX`.
    public static func encoded(_ text: String) -> String {
        var output: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: output.append(byte)
            default:
                output.append(0x25)
                for digit in [byte >> 4, byte & 15] { output.append(digit < 10 ? 0x30 + digit : 0x37 + digit) }
            }
        }
        return String(decoding: output, as: UTF8.self)
    }
}

/// The body of a request, read piece by piece.
///
/// `@unchecked Sendable`: used on the connection's loop only.
public final class HTTPRequestBody: @unchecked Sendable {
    private unowned let connection: HTTPServerConnection
    private let limit: Int
    private var received = 0
    private(set) var isComplete: Bool
    private var mustContinue: Bool
    private(set) var failure: HTTPError?

    init(_ connection: HTTPServerConnection, _ head: RequestHead, limit: Int) {
        self.connection = connection
        self.limit = limit
        isComplete = false
        mustContinue = head.expectsContinue
        if case .length(let count) = head.body, count > limit { failure = .bodyTooLarge(limit: limit) }
    }

    /// The next piece; nil at the end.
    ///
    /// Fails when the body exceeds the server's limit: whatever the handler answers then, the client gets 413.
    public func next() async throws(HTTPError) -> [UInt8]? {
        if let failure { throw failure }
        if isComplete { return nil }
        if mustContinue {
            mustContinue = false
            try await connection.writeContinue()
        }
        do throws(HTTPError) {
            guard let piece = try await connection.nextBodyPiece() else {
                isComplete = true
                return nil
            }
            received += piece.count
            if received > limit { throw HTTPError.bodyTooLarge(limit: limit) }
            return piece
        } catch {
            failure = error
            throw error
        }
    }

    /// The whole body.
    public func collect() async throws(HTTPError) -> [UInt8] {
        var all: [UInt8] = []
        while let piece = try await next() { all += piece }
        return all
    }

    /// Reads and forgets what is left, up to so many bytes; whether the end came.
    func drain(upTo bytes: Int) async -> Bool {
        // A client that waits for 100 Continue has not sent its body and will not be asked for it.
        if isComplete { return true }
        if mustContinue || failure != nil { return false }
        var left = bytes
        do throws(HTTPError) {
            while let piece = try await next() {
                left -= piece.count
                if left < 0 { return false }
            }
            return true
        } catch {
            return false
        }
    }
}
