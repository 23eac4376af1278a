internal import IO

/// Checks and prepares `hostPath` volumes.
///
/// Blocking.
enum HostPath {
    /// The path to mount.
    ///
    /// A path that would show our own state (keys, other pods' secrets, sockets) is refused, whichever way it leads
    /// there.
    static func resolve(
        _ path: String, type: String, volume: String, protected: [String]
    ) throws(WorkloadError) -> String {
        let field = "spec.volumes[\(volume)].hostPath"
        if type == "DirectoryOrCreate" || type == "FileOrCreate", !File.exists(path) {
            // Nothing is made inside of what is protected, also not through a link.
            try refuse(path, protected, field)
            try refuse(existing(path), protected, field, refusesAbove: false)
            do throws(SystemError) {
                if type == "DirectoryOrCreate" {
                    try File.makeDirectory(path)
                } else {
                    try File.append(path, [])
                }
            } catch { throw WorkloadError("FailedMount", field, error) }
        }
        guard let real = File.realPath(path) else {
            throw WorkloadError("FailedMount", "\(field): \(path) does not exist on this host")
        }
        try refuse(real, protected, field)
        if type.hasPrefix("Directory"), !File.isDirectory(real) {
            throw WorkloadError("FailedMount", "\(field): \(path) is no directory")
        }
        if type.hasPrefix("File"), File.isDirectory(real) {
            throw WorkloadError("FailedMount", "\(field): \(path) is a directory, not a file")
        }
        return real
    }

    /// The part of a path that is there already, without links.
    static func existing(_ path: String) -> String {
        var path = path
        while path != "/", path != "." {
            if let real = File.realPath(path) { return real }
            path = File.parent(of: path)
        }
        return "/"
    }

    private static func refuse(
        _ path: String, _ protected: [String], _ field: String, refusesAbove: Bool = true
    ) throws(WorkloadError) {
        for secret in protected {
            let isInside = path == secret || path.hasPrefix(secret + "/")
            let isAbove = refusesAbove && (path == "/" || secret.hasPrefix(path + "/"))
            if isInside || isAbove {
                throw .field(
                    field, "\(path) would show \(secret), which no container may see; mount something narrower")
            }
        }
    }
}
