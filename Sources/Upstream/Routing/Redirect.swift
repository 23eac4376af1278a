/// A redirect: which parts of the address change, and the status.
public struct Redirect: Sendable {
    /// Status: 301, 302, 303, 307 or 308 (H-15).
    public var status: UInt16 = 301
    /// New scheme; nil keeps it.
    public var scheme: [UInt8]?
    /// New host; nil keeps it.
    public var host: [UInt8]?
    /// New port; nil keeps the one the client wrote (dropped when the scheme changes and it was the old scheme's own).
    public var port: UInt16?
    /// New path; nil keeps it.
    public var pathRewrite: PathRewrite?
    /// Whether the query goes.
    public var stripsQuery = false

    init() {}
}

/// An answer given without any upstream.
public struct DirectResponse: Sendable {
    /// Its status.
    public var status: UInt16
    /// Its body.
    public var body: [UInt8]
}
