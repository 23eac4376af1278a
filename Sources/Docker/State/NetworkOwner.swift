/// For whom networks are made, which shows in the notes of their links and rules: what one has lost the other does not remove.
package enum NetworkOwner: Sendable, Hashable {
    /// A container engine, by its plugin calls.
    case engine
    /// The node agent, for containers of its own.
    case node

    /// Whose network it is: an engine's ids are hexadecimal digits alone.
    init(network id: String) { self = id.hasPrefix(NetworkOwner.idPrefix) ? .node : .engine }

    /// Begins the ids of the node's networks.
    static let idPrefix = "node"

    /// Begins every alias and every comment.
    var notePrefix: String {
        switch self {
        case .engine: "skein-docker "
        case .node: "skein-node "
        }
    }

    /// Whether forwarding is switched on for the networks' bridges alone: the node makes no router of the machine.
    var forwardsByDevice: Bool { self == .node }
}
