internal import HTTP
internal import Serialization

/// Where network namespaces of pods come from that somebody else has made.
///
/// Calls block; any thread.
package protocol NamespaceSource: Sendable {
    /// The path of a namespace for the pod; the same again for one that has it.
    func namespace(of pod: PodManifest) throws(WorkloadError) -> String
    /// Gives a pod's namespace back; harmless when there is none.
    func release(uid: String) throws(WorkloadError)
    /// Gives back those of all other pods.
    func keep(only uids: Set<String>) throws(WorkloadError)
}

extension RuntimeChoice {
    /// Where namespaces come from with this runtime; nil when they are made by us.
    package func namespaces(_ layout: NodeLayout) -> (any NamespaceSource)? {
        guard case .engine(let socket, let helper) = self else { return nil }
        return EngineRuntime(layout: layout, socket: socket, helper: helper)
    }

    /// The engine's name and version; why it cannot be asked, as an error.
    package func version() throws(WorkloadError) -> String? {
        guard case .engine(let socket, _) = self else { return nil }
        do throws(EngineError) {
            let answer = try EngineClient(socket: socket).call(.get, "/version", patience: .seconds(10))
            let name = answer["Components"]?[0]?["Name"]?.string ?? "engine"
            return "\(name) \(answer["Version"]?.string ?? "")"
        } catch { throw WorkloadError("RuntimeMissing", "\(socket): \(error)") }
    }
}
