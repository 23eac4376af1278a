/// Tokens whose signature was found good, for one provider on one loop: a token that comes again costs no check of it.
///
/// Time, audience and subject are looked at each time. An entry counts only for the very key set that it was checked with, so a rotated key
/// ends it. Two generations make room: what was not asked for during the last half of the capacity goes.
struct JWTCache {
    struct Entry {
        let token: JSONWebToken
        let keys: JSONWebKeySet
    }

    private let capacity: Int
    private let tokenBytesMax: Int
    private var young: [[UInt8]: Entry] = [:]
    private var old: [[UInt8]: Entry] = [:]

    init(capacity: Int, tokenBytesMax: Int) {
        self.capacity = capacity
        self.tokenBytesMax = tokenBytesMax
    }

    var count: Int { young.count + old.count }

    /// The token that those bytes are, if its signature was good under these keys.
    mutating func token(_ bytes: [UInt8], _ keys: JSONWebKeySet) -> JSONWebToken? {
        if let entry = young[bytes] {
            if entry.keys === keys { return entry.token }
            young[bytes] = nil
            return nil
        }
        guard let entry = old.removeValue(forKey: bytes), entry.keys === keys else { return nil }
        insert(bytes, entry)
        return entry.token
    }

    mutating func remember(_ bytes: [UInt8], _ token: JSONWebToken, _ keys: JSONWebKeySet) {
        guard bytes.count <= tokenBytesMax else { return }
        insert(bytes, Entry(token: token, keys: keys))
    }

    private mutating func insert(_ bytes: [UInt8], _ entry: Entry) {
        if young.count >= max(capacity / 2, 1) {
            old = young
            young = [:]
        }
        young[bytes] = entry
    }
}
