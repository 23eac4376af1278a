internal import Etcd

// What servers have in common beside the objects.
extension EtcdStore {
    /// What all servers of this store have in common under a name and nobody else may know: sealed with the key of the Secrets.
    ///
    /// - Parameters:
    ///   - name: the same on all servers.
    ///   - bytes: becomes it if there is none yet; nil only asks. Of two servers that offer at once one is the first.
    /// - Returns: what it is now; nil if there is none, and when nothing is encrypted here: then nothing is shared.
    public func common(_ name: String, offering bytes: [UInt8]? = nil) async throws(StoreError) -> [UInt8]? {
        guard layout.text.key != nil else { return nil }
        let sealed = try bytes.flatMap { (bytes) throws(StoreError) in try layout.text.seal(bytes, as: name) }
        let answer = try await ask(.txn, layout.take(layout.common(name), sealed))
        if answer.succeeded { return bytes }
        return try answer.found.map { (found) throws(StoreError) in try layout.text.open(found.value, as: name) }
    }

    /// Replaces what all servers have in common under a name, if it still is what this one knows; without a key nothing is shared.
    ///
    /// - Parameter expected: what it is replaced for. If nothing is there any more, `bytes` becomes it all the same.
    /// - Returns: what it is now: `bytes`, or what another server has made of it meanwhile.
    public func replaceCommon(_ name: String, _ expected: [UInt8], with bytes: [UInt8]) async throws(StoreError)
        -> [UInt8]
    {
        guard let sealed = try layout.text.seal(bytes, as: name) else { return bytes }
        let key = layout.common(name)
        let present = try await ask(.txn, layout.take(key, nil)).found
        if let present {
            let now = try layout.text.open(present.value, as: name)
            guard now == expected else { return now }
        }
        var request = EtcdTxnRequest()
        request.compare = [layout.compare(key, modRevision: present?.modRevision ?? 0)]
        request.success = [layout.put(key, sealed)]
        request.failure = [layout.range(key)]
        let answer = try await ask(.txn, request)
        if answer.succeeded { return bytes }
        guard let found = answer.found else { throw .unavailable("\(name) was taken away by another program") }
        return try layout.text.open(found.value, as: name)
    }

    static func makeName() -> String {
        var random = SystemRandomNumberGenerator()
        return String(random.next(), radix: 36)
    }
}
