/// An ordered stream of bytes in both directions, for control-path code.
///
/// Belongs to one event loop: call it from tasks that run there (`Task(executorPreference: loop)`). One task may read while
/// another writes. Cancelling a task does not interrupt a wait; `close` does.
public protocol ByteStream: AnyObject, Sendable {
    /// Waits for bytes: between one and `count` of them, or none at the end of the stream.
    func read(upTo count: Int) async throws(SystemError) -> [UInt8]
    /// Writes all bytes; returns when the kernel has taken them.
    func write(_ bytes: [UInt8]) async throws(SystemError)
    /// Ends both directions.
    ///
    /// Waiting calls fail with ECANCELED.
    func close()
}
