import IO
import Serialization
import Store
import TLS
import Telemetry

/// The keys by which several servers of one store are one control plane: the API's authority, that of tokens and the mesh's.
///
/// The first server leaves them in the store, sealed with the key of the Secrets; a server without files of its own takes them from there. So a
/// kubeconfig, a token, a node's certificate and a workload's are good at each of them, and they know each other.
struct SharedIdentity {
    /// Who asks the API, and the API itself.
    static let api = SharedIdentity(name: "identity", files: authority + [ServiceAccountTokens.fileName])
    /// Workloads.
    static let mesh = SharedIdentity(name: "mesh-authority", files: [MeshAuthority.fileName])
    private static let authority = ["ca.key", "ca.crt"]
    /// Bytes of one file at most.
    private static let bytesMax = 1 << 20

    /// Their name in the store.
    let name: String
    /// The files of a control directory.
    let files: [String]

    /// Brings the files of a control directory in line with what the servers have in common, or leaves them there as the first.
    ///
    /// - Parameter make: makes those that are missing.
    /// - Returns: the files that are others than those of the other servers: who knows them does not know the others.
    func settle(
        in store: EtcdStore, directory: String, make: () throws(ControlPlaneError) -> Void
    ) async throws(ControlPlaneError) -> [String] {
        do throws(StoreError) {
            var known = try await store.common(name)
            if let known { try keep(known, directory, replacing: []) }
            let missing = files.filter { !File.exists("\(directory)/\($0)") }
            do throws(ControlPlaneError) { try make() } catch { return try failed(error) }
            if known == nil {
                // Of two servers that begin at once one is the first; the other takes back what it has just made.
                known = try await store.common(name, offering: try text(directory))
                if let known { try keep(known, directory, replacing: missing) }
            }
            guard let known else { return [] }
            return try different(known, directory)
        } catch {
            throw ControlPlaneError("what the servers of this store have in common: \(error)")
        }
    }

    private func failed(_ error: ControlPlaneError) throws(StoreError) -> [String] {
        throw .failed(path: "", detail: error.description)
    }

    private static func read(_ path: String) throws(StoreError) -> [UInt8] {
        do throws(SystemError) { return try File.read(path, limit: Self.bytesMax) } catch {
            throw .failed(path: path, detail: error.description)
        }
    }

    private func text(_ directory: String) throws(StoreError) -> [UInt8] {
        text(try files.map { (file) throws(StoreError) in try Self.read("\(directory)/\(file)") })
    }

    /// The text of these files, in their order.
    func text(_ contents: [[UInt8]]) -> [UInt8] {
        let members = zip(files, contents).map { ($0, JSON.string(String(decoding: $1, as: UTF8.self))) }
        return JSON.object(Dictionary(members) { $1 }).bytes
    }

    /// The contents of the only file of such a text.
    func only(_ known: [UInt8]) throws(StoreError) -> [UInt8] {
        guard files.count == 1, let bytes = try members(known)[files[0]] else {
            throw .corrupted(path: "", detail: "\(name) has not the one file \(files.joined(separator: ", "))")
        }
        return bytes
    }

    private func members(_ known: [UInt8]) throws(StoreError) -> [String: [UInt8]] {
        do throws(JSONError) {
            return (try JSON.parse(known).object ?? [:]).compactMapValues { $0.string.map { Array($0.utf8) } }
        } catch { throw .corrupted(path: "", detail: "\(name) cannot be read: \(error)") }
    }

    /// Writes the files that are not there; half an authority is left to its owner, who is told of it.
    private func keep(_ known: [UInt8], _ directory: String, replacing: [String]) throws(StoreError) {
        let members = try members(known)
        let hasAuthority = Self.authority.contains { File.exists("\(directory)/\($0)") && !replacing.contains($0) }
        for file in files {
            guard let bytes = members[file], !Self.authority.contains(file) || !hasAuthority else { continue }
            let path = "\(directory)/\(file)"
            guard !File.exists(path) || replacing.contains(file) else { continue }
            do throws(SystemError) {
                try File.replace(path, bytes, mode: file.hasSuffix(".crt") ? 0o644 : 0o600)
            } catch { throw .failed(path: path, detail: error.description) }
        }
    }

    private func different(_ known: [UInt8], _ directory: String) throws(StoreError) -> [String] {
        let members = try members(known)
        var different: [String] = []
        for file in files {
            guard let bytes = members[file], try Self.read("\(directory)/\(file)") != bytes else { continue }
            different.append(file)
        }
        return different
    }
}

extension ControlPlaneServer {
    /// Has the same keys as the other servers of the store.
    func shareIdentity(_ store: ReplicaStore) async throws(ControlPlaneError) {
        guard let shared = store as? EtcdStore else { return }
        let (options, loop, control) = (options, loop, control)
        var different = try await SharedIdentity.api.settle(in: shared, directory: control) {
            () throws(ControlPlaneError) in
            _ = try Identities(directory: control, now: Self.now().seconds)
            _ = try ServiceAccountTokens(directory: control)
        }
        different += try await SharedIdentity.mesh.settle(in: shared, directory: control) {
            () throws(ControlPlaneError) in
            _ = try MeshAuthority(
                directory: control, node: options.nodeName, on: loop, now: { WallClock.now.seconds })
        }
        sharesMeshAuthority = !different.contains(MeshAuthority.fileName)
        if !different.isEmpty {
            log.warning(
                "keys here are others than those of the other servers of this store: what is signed here is not good there; "
                    + "to have theirs, move the files away and start again",
                ["files": different.joined(separator: ","), "directory": control])
        }
    }
}
