import TLS

/// Why a certificate is not issued, or an authority cannot do what is asked.
public struct IdentityError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kinds of refusals, for counters.
    public enum Code: String, Sendable, Hashable, CaseIterable {
        /// The caller may not speak for that workload.
        case notYours = "NotYours"
        /// There is no such pod, or it has ended.
        case noSuchPod = "NoSuchPod"
        /// The request cannot be read or is not signed with its own key.
        case badRequest = "BadRequest"
        /// The request asks for a name that is not the caller's (ATK-39).
        case otherIdentity = "OtherIdentity"
        /// The key or token was used before by another (ATK-39).
        case replay = "Replay"
        /// The token is not good.
        case badToken = "BadToken"
        /// The authority itself cannot sign now.
        case authority = "Authority"
        /// A bound was reached.
        case limit = "Limit"
    }

    /// What kind of refusal.
    public var code: Code
    /// What, where, and what to do about it.
    public var message: String

    /// A refusal.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// A failure of cryptography on our side.
    init(_ error: TLSError) { self.init(.authority, "\(error)") }

    /// `OtherIdentity: …`.
    public var description: String { "\(code.rawValue): \(message)" }
}
