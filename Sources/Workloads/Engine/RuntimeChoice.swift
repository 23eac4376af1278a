internal import IO
internal import Serialization

/// What makes a node's containers, as it is chosen by a flag and written down for `skein down`.
package enum RuntimeChoice: Sendable, Hashable {
    /// runc, under conmon.
    case runc
    /// A container engine that speaks Docker's API on a unix socket; its commands are run by `helper`.
    case engine(socket: String, helper: String)

    private static func path(_ layout: NodeLayout) -> String { layout.node + "/runtime.json" }

    /// What pods of an earlier life of the agent were made by.
    package static func read(_ layout: NodeLayout) -> RuntimeChoice {
        guard let json = (try? File.read(path(layout))).flatMap({ try? JSON.parse($0) }),
            let socket = json["socket"]?.string, let helper = json["helper"]?.string
        else { return .runc }
        return .engine(socket: socket, helper: helper)
    }

    func write(_ layout: NodeLayout) throws(SystemError) {
        switch self {
        case .runc: try Self.forget(layout)
        case .engine(let socket, let helper):
            let json: JSON = ["socket": .string(socket), "helper": .string(helper)]
            try File.write(Self.path(layout), json.bytes, mode: 0o600)
        }
    }

    static func forget(_ layout: NodeLayout) throws(SystemError) { try File.remove(path(layout)) }

    func make(_ layout: NodeLayout) throws(WorkloadError) -> any PodRuntime {
        switch self {
        case .runc: try ContainerRuntime(layout: layout)
        case .engine(let socket, let helper): EngineRuntime(layout: layout, socket: socket, helper: helper)
        }
    }

    /// Whether both make containers that the other cannot take over.
    package func isOther(than other: RuntimeChoice) -> Bool {
        switch (self, other) {
        case (.runc, .runc): false
        case (.engine(let socket, _), .engine(let otherSocket, _)): socket != otherSocket
        default: true
        }
    }
}
