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

    /// Replaces what all servers have in common under a name; without a key nothing is shared.
    public func setCommon(_ name: String, _ bytes: [UInt8]) async throws(StoreError) {
        guard let sealed = try layout.text.seal(bytes, as: name) else { return }
        var request = EtcdTxnRequest()
        request.success = [layout.put(layout.common(name), sealed)]
        _ = try await ask(.txn, request)
    }
}
