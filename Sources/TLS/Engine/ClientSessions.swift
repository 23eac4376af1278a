internal import COpenSSL
internal import Glibc
internal import Synchronization

/// A session a client may resume, and what it must remember of the full handshake behind it.
///
/// `@unchecked Sendable`: the session is never changed after it was made, and counted atomically.
final class ClientSession: @unchecked Sendable {
    let pointer: OpaquePointer
    let facts: PeerFacts?
    /// The certificates of the full handshake hold so long.
    let until: Int64

    init(adopting pointer: OpaquePointer, facts: PeerFacts?, until: Int64) {
        self.pointer = pointer
        self.facts = facts
        self.until = until
    }

    deinit { SSL_SESSION_free(pointer) }
}

/// The sessions of a client's context, by the name and address they were made with.
///
/// A session's server was verified under this very context; another generation of trust is another context.
final class ClientSessions: Sendable {
    private let maximum: Int
    private let sessions = Mutex<[String: [ClientSession]]>([:])
    /// Names that are remembered; beyond it somebody's sessions are forgotten.
    private static let namesMax = 1024

    init(maximum: Int) { self.maximum = maximum }

    func take(_ name: String, at now: Int64) -> ClientSession? {
        sessions.withLock { sessions in
            // TLS 1.3 sessions are for one use: a ticket seen twice links two connections.
            while let last = sessions[name]?.popLast() {
                if last.until >= now { return last }
            }
            sessions[name] = nil
            return nil
        }
    }

    func keep(_ session: ClientSession, for name: String) {
        sessions.withLock { sessions in
            if sessions[name] == nil, sessions.count >= ClientSessions.namesMax, let victim = sessions.keys.first {
                sessions[victim] = nil
            }
            sessions[name, default: []].append(session)
            if let count = sessions[name]?.count, count > maximum { sessions[name]?.removeFirst() }
        }
    }
}
