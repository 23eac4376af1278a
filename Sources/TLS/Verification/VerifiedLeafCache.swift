internal import COpenSSL
internal import Glibc
internal import Synchronization

/// Leaves whose chain was verified: a second handshake skips the building of the chain and the authorities' signatures (TLS.md, measure 4).
///
/// Belongs to one `TLSContext`, so direction, trust, revocation lists and settings are those of the context: when any of them changes there is
/// a new context, and an empty cache. Proof of possession is none of its business: OpenSSL asks for it at every handshake.
final class VerifiedLeafCache: Sendable {
    /// SHA-256 of the leaf's whole DER.
    struct Key: Hashable {
        var words: (UInt64, UInt64, UInt64, UInt64)

        init?(_ leaf: OpaquePointer) {
            words = (0, 0, 0, 0)
            var count: UInt32 = 32
            let result = withUnsafeMutableBytes(of: &words) { bytes in
                X509_digest(leaf, EVP_sha256(), bytes.assumingMemoryBound(to: UInt8.self).baseAddress, &count)
            }
            guard result == 1, count == 32 else { return nil }
        }

        static func == (left: Key, right: Key) -> Bool { left.words == right.words }

        func hash(into hasher: inout Hasher) {
            // A digest is random already; two words of it are plenty.
            hasher.combine(words.0)
            hasher.combine(words.1)
        }
    }

    /// What others read from a verified chain, and for how long it holds.
    struct Entry: Sendable {
        var facts: PeerFacts
        /// The latest `notBefore` of the chain.
        var from: Int64
        /// The earliest `notAfter` of the chain and `nextUpdate` of its revocation lists.
        var until: Int64
    }

    private struct State {
        var entries: [Key: Entry] = [:]
    }

    private let maximum: Int
    private let state = Mutex(State())
    /// Handshakes that found their leaf.
    let hits = Atomic<UInt64>(0)
    /// Handshakes that did not.
    let misses = Atomic<UInt64>(0)

    init(maximum: Int) { self.maximum = maximum }

    /// The entry of a leaf, if it holds at this time.
    func find(_ key: Key, at now: Int64) -> Entry? {
        let found = state.withLock { state -> Entry? in
            guard let entry = state.entries[key] else { return nil }
            guard now >= entry.from, now <= entry.until else {
                state.entries[key] = nil
                return nil
            }
            return entry
        }
        if found == nil { misses.add(1, ordering: .relaxed) } else { hits.add(1, ordering: .relaxed) }
        return found
    }

    /// Remembers a leaf; the oldest knowledge of anybody is given up for it when the cache is full.
    func insert(_ key: Key, _ entry: Entry) {
        state.withLock { state in
            if state.entries.count >= maximum, let victim = state.entries.keys.first { state.entries[victim] = nil }
            state.entries[key] = entry
        }
    }

    var count: Int { state.withLock { $0.entries.count } }
}
