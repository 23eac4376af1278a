public import HTTP
internal import Serialization

extension EtcdClient {
    /// Begins a lease: keys written with it vanish when nobody has kept it alive for `seconds`.
    public func grantLease(seconds: Int64) async throws(GRPCStatus) -> Int64 {
        var wish = EtcdLeaseGrantRequest()
        wish.ttl = seconds
        let answer = try await call(.leaseGrant, wish)
        guard answer.error.isEmpty, answer.id != 0 else { throw GRPCStatus(.internal, "no lease: \(answer.error)") }
        return answer.id
    }

    /// Ends a lease and deletes its keys.
    public func revokeLease(_ id: Int64) async throws(GRPCStatus) {
        var wish = EtcdLeaseRevokeRequest()
        wish.id = id
        _ = try await call(.leaseRevoke, wish)
    }

    /// Keeps a lease alive once; false when it has ended.
    public func keepLease(_ id: Int64) async throws(GRPCStatus) -> Bool {
        var wish = EtcdLeaseKeepAliveRequest()
        wish.id = id
        // The method has messages both ways; one of each does.
        let answer = try await call(.leaseKeepAlive, wish)
        return answer.ttl > 0
    }
}
