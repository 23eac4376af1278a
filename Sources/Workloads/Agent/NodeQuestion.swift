public import Serialization

/// Something that the dashboard asks about this machine, which only root can tell: what proxies would decide, what the kernel has counted.
///
/// Reads only. Comes over `kubelet.sock`, from root or the control plane.
public struct NodeQuestion: Sendable {
    /// What is asked: `explain`, `packet`, `policies`, `endpoints`, `recorded`.
    public var name: String
    /// The parameters, decoded, in their order.
    public var items: [(name: String, value: String)]

    /// A question.
    public init(_ name: String, _ items: [(name: String, value: String)]) {
        self.name = name
        self.items = items
    }

    /// The first value of a parameter; empty without it.
    public func first(_ name: String) -> String { items.first { $0.name == name }?.value ?? "" }

    /// All values of a parameter.
    public func all(_ name: String) -> [String] { items.filter { $0.name == name }.map(\.value) }
}

/// What came of a question.
public struct NodeAnswer: Sendable {
    /// As in HTTP: 200, or why there is nothing else.
    public var status: UInt16
    /// The answer, or `{"error": …}`.
    public var json: JSON

    /// An answer.
    public init(_ json: JSON) {
        status = 200
        self.json = json
    }

    /// There is none, for this reason.
    public init(status: UInt16, error: String) {
        self.status = status
        json = ["error": .string(error)]
    }
}
