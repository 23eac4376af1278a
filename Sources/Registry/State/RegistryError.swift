/// Why a request is refused: a status and a text, Consul's own where it has one.
public struct RegistryError: Error, Sendable, Hashable {
    /// The HTTP status.
    public var status: UInt16
    /// The body of the answer.
    public var text: String

    /// A refusal.
    public init(_ status: UInt16, _ text: String) {
        self.status = status
        self.text = text
    }

    /// What cannot be read or means nothing.
    static func bad(_ text: String) -> RegistryError { RegistryError(400, text) }
    /// What this registry does not have, though Consul does.
    static func missing(_ text: String) -> RegistryError { RegistryError(501, text) }
    /// What the state does not allow; Consul answers such things with 500.
    static func failed(_ text: String) -> RegistryError { RegistryError(500, text) }
}
