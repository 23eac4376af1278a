internal import IO
internal import Synchronization

/// The order in which a pod's volumes were read from the API.
///
/// Plans are carried out on several threads: without it a slow one would put an old ConfigMap over a new one.
final class VolumeEditions: Sendable {
    private struct State {
        var last = 0
        var written = 0
    }
    private let state = Mutex(State())

    /// A plan's place in the order.
    struct Edition: Sendable {
        fileprivate let number: Int
        fileprivate let order: VolumeEditions
    }

    /// The place behind all others so far.
    func next() -> Edition {
        state.withLock { state in
            state.last += 1
            return Edition(number: state.last, order: self)
        }
    }

    /// Calls `body`, one caller at a time, unless a later edition was written already.
    fileprivate func write<Failure>(_ number: Int, _ body: () throws(Failure) -> Void) throws(Failure) {
        let result = state.withLock { state -> Result<Void, Failure> in
            guard number > state.written else { return .success(()) }
            do throws(Failure) { try body() } catch { return .failure(error) }
            state.written = number
            return .success(())
        }
        try result.get()
    }
}

/// What has to be on disk for a pod's volumes.
struct VolumePlan: Sendable {
    struct Content: Sendable {
        var directory: String
        var files: [String: VolumeContent.File]
    }

    /// Directory of each volume on the host.
    var paths: [String: String]
    var contents: [Content]
    var hostPaths: [(volume: String, path: String, type: String)] = []
    /// Directories of our own storage class.
    var kept: [String] = []
    var empty: [(directory: String, inMemory: Bool, sizeBytes: Int?)] = []
    let layout: NodeLayout
    let pod: PodManifest
    private let edition: VolumeEditions.Edition

    init(
        paths: [String: String], contents: [Content], layout: NodeLayout, pod: PodManifest,
        edition: VolumeEditions.Edition
    ) {
        self.edition = edition
        self.paths = paths
        self.contents = contents
        self.layout = layout
        self.pod = pod
    }

    /// Size of a memory volume that names none.
    private static let memorySizeBytes = 64 << 20

    /// Brings all of it to disk.
    ///
    /// Blocking; does nothing where nothing changed, and nothing at all when a later plan of this pod was written.
    func write() throws(WorkloadError) {
        try edition.order.write(edition.number) { () throws(WorkloadError) in try writeAll() }
    }

    private func writeAll() throws(WorkloadError) {
        let protected = layout.protected
        for entry in hostPaths {
            _ = try HostPath.resolve(entry.path, type: entry.type, volume: entry.volume, protected: protected)
        }
        do throws(SystemError) {
            for content in contents { try VolumeWriter.write(content.files, to: content.directory) }
            // Everybody may write: which user a container has is the container's business.
            for directory in kept where !File.exists(directory) {
                try File.makeDirectory(directory, mode: 0o777)
                try File.chmod(directory, 0o777)
            }
            for volume in empty where !File.exists(volume.directory) {
                try File.makeDirectory(volume.directory, mode: 0o777)
                if volume.inMemory {
                    try Mount.temporary(
                        at: volume.directory, mode: "0777", sizeBytes: volume.sizeBytes ?? Self.memorySizeBytes)
                }
            }
        } catch { throw WorkloadError("FailedMount", "pod \(pod.fullName): cannot write a volume", error) }
    }
}
