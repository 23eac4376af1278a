internal import IO

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
    var empty: [(directory: String, inMemory: Bool, sizeBytes: Int?)] = []
    let layout: NodeLayout
    let pod: PodManifest

    init(paths: [String: String], contents: [Content], layout: NodeLayout, pod: PodManifest) {
        self.paths = paths
        self.contents = contents
        self.layout = layout
        self.pod = pod
    }

    /// Size of a memory volume that names none.
    private static let memorySizeBytes = 64 << 20

    /// Brings all of it to disk.
    ///
    /// Blocking; does nothing where nothing changed.
    func write() throws(WorkloadError) {
        let protected = [layout.dataDirectory, layout.runDirectory].map { File.realPath($0) ?? $0 }
        for entry in hostPaths {
            _ = try HostPath.resolve(entry.path, type: entry.type, volume: entry.volume, protected: protected)
        }
        do throws(SystemError) {
            for content in contents { try VolumeWriter.write(content.files, to: content.directory) }
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
