/// Why a request of the engine is not done: one sentence, which the engine shows to the person who typed the command.
package struct Refusal: Error, Hashable, Sendable {
    /// What is wrong, with the name of the option or field.
    package var message: String
    /// The status of the answer: 400 for what can never work, 404 for methods that do not exist, 500 otherwise.
    package var status: UInt16

    /// A refusal for that reason.
    package init(_ message: String, status: UInt16 = 400) {
        self.message = message
        self.status = status
    }
}

/// Bounds on what an engine may make us hold.
enum Limits {
    /// Bytes of one request.
    static let bodyBytes = 1 << 20
    /// Networks at once; a bridge each.
    static let networks = 1024
    /// Containers on all networks at once.
    static let endpoints = 16_384
    /// Address pools at once.
    static let pools = 2048
    /// Addresses that are held in one pool.
    static let addresses = 65_536
    /// Machines of one network.
    static let peers = 256
    /// Subnets of one network.
    static let subnets = 16
    /// Published ports of one container.
    static let ports = 1024
    /// Ports of a range that are tried for one container's port.
    static let portRange = 4096
    /// Bytes of an id.
    static let idBytes = 128
    /// Connections of engines at once.
    static let connections = 64
}
