internal import Serialization

/// Why a verb failed, as the runtime is told on standard output (CNI specification, "Error").
public struct CNIError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The specification's error codes.
    public enum Code: Int, Hashable, Sendable {
        /// The configuration's version is none of ours.
        case incompatibleVersion = 1
        /// A member of the configuration that we do not know or cannot do.
        case unsupportedField = 2
        /// The container (its namespace) does not exist; the runtime need not clean up.
        case unknownContainer = 3
        /// An environment variable is missing or cannot be used.
        case invalidEnvironment = 4
        /// The kernel or the disk refused.
        case inputOutput = 5
        /// The input is no JSON of the right shape.
        case decode = 6
        /// The configuration cannot be used.
        case invalidConfiguration = 7
        /// The same call may succeed later: no address is free, a port is taken, a lock is held.
        case tryAgainLater = 11
        /// STATUS: ADD would fail.
        case notAvailable = 50
        /// STATUS: ADD would fail, and containers that exist may have limited connectivity.
        case limitedConnectivity = 51
        /// CHECK: something of a container's network is not as it was made.
        case checkFailed = 100
    }

    /// What kind of failure it is; a delegated plugin's own code is passed on in `delegated`.
    public var code: Code
    /// One sentence: what, where, what to do.
    public var message: String
    /// More, for people.
    public var details: String
    /// The code of a plugin to which we delegated.
    public var delegated: Int?

    /// A failure of that kind.
    public init(_ code: Code, _ message: String, details: String = "", delegated: Int? = nil) {
        self.code = code
        self.message = message
        self.details = details
        self.delegated = delegated
    }

    /// The message.
    public var description: String { message }

    /// What goes to standard output.
    func json(version: String) -> JSON {
        var value: JSON = [
            "cniVersion": .string(version), "code": .integer(Int64(delegated ?? code.rawValue)),
            "msg": .string(message),
        ]
        if !details.isEmpty { value["details"] = .string(details) }
        return value
    }
}
