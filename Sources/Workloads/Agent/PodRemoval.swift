internal import IO

/// Takes away what a pod had on this node, its containers being gone.
///
/// Blocking, and harmless when done twice.
enum PodRemoval {
    /// What could not be removed, in words; nil when all is gone.
    static func run(uid: String, logs: String?, layout: NodeLayout, network: any PodNetworking) -> String? {
        var problems: [String] = []
        do throws(WorkloadError) { try network.detach(uid: uid) } catch { problems.append(error.message) }
        do throws(SystemError) {
            try unmount(below: layout.pod(uid))
            try File.removeTree(layout.pod(uid))
            try File.removeTree("\(layout.secrets)/\(uid)")
            try File.removeTree(layout.sockets(uid))
            if let logs { try File.removeTree(logs) }
        } catch { problems.append("\(error)") }
        return problems.isEmpty ? nil : problems.joined(separator: "; ")
    }

    /// Takes away all mounts at and below a directory, the deepest first.
    static func unmount(below directory: String) throws(SystemError) {
        for point in try Mount.points(below: directory).reversed() { try Mount.remove(point) }
    }
}
