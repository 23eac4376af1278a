internal import IO
internal import Workloads

/// What has to be right before `skein up` touches anything.
enum Preflight {
    /// Programs we run, and the Debian package that has each.
    private static let programs = [("runc", "runc"), ("conmon", "conmon")]

    /// Where programs are looked for: not in the caller's PATH, which root's shell may have set to anything.
    static let searchPath = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]

    /// Bytes that must be free for the store, logs and images to begin with.
    private static let freeBytesMin: UInt64 = 16 << 20

    static func check(_ options: UpOptions) throws(CommandError) {
        guard Environment.userID == 0 else {
            throw CommandError(
                "skein up: must be root: network namespaces, nftables and containers need it; run sudo skein up …")
        }
        for (program, package) in programs where options.runtime == .runc && path(of: program) == nil {
            throw CommandError(
                "skein up: \(program) is not installed; it runs the containers: apt-get install \(package)")
        }
        do throws(WorkloadError) { _ = try options.runtime.version() } catch {
            throw CommandError(
                "skein up: no container engine answers at \(error.message); start one (dockerd, or podman system service), or name its socket with --engine"
            )
        }
        let layout = NodeLayout(dataDirectory: options.dataDirectory, runDirectory: options.runDirectory)
        if NodeAgent.hasJournal(layout), options.runtime.isOther(than: RuntimeChoice.read(layout)) {
            throw CommandError("skein up: pods of another --runtime are still there; run skein down first")
        }
        guard path(of: "skein-proxy") != nil else {
            throw CommandError("skein up: skein-proxy is not beside skein or in \(searchPath.joined(separator: ":"))")
        }
    }

    /// Where a program is: beside this one, else in the search path.
    static func path(of program: String) -> String? {
        var places = searchPath
        if let own = try? File.readLink("/proc/self/exe") { places.insert(File.parent(of: own), at: 0) }
        // SKEIN_PATH replaces the search path: for trying what happens when something is missing.
        if let given = Environment.variable("SKEIN_PATH") { places = given.split(separator: ":").map(String.init) }
        return places.map { "\($0)/\(program)" }.first { File.isExecutable($0) }
    }

    /// Makes data and run directory with their owners.
    static func makeDirectories(_ options: UpOptions) throws(CommandError) {
        let (data, run) = (options.dataDirectory, options.runDirectory)
        let user = ControlPlaneProcess.userID
        do throws(SystemError) {
            // 0711 would let everybody pass through; the control plane's group is enough.
            try File.makeDirectory(data, mode: 0o710)
            try File.chmod(data, 0o710)
            try File.chown(data, uid: 0, gid: user)
            try File.makeDirectory(data + "/node", mode: 0o700)
            try File.makeDirectory(data + "/log", mode: 0o700)
            try File.makeDirectory(data + "/control", mode: 0o700)
            try File.chown(data + "/control", uid: user, gid: user)
            // Sticky: the control plane makes its sockets here and cannot touch the agent's.
            try File.makeDirectory(run, mode: 0o1770)
            try File.chmod(run, 0o1770)
            try File.chown(run, uid: 0, gid: user)
            // Made before the control plane runs: in this directory it could make them first, and root would trust them.
            for name in rootDirectories { try makeRootDirectory("\(run)/\(name)") }
            let (free, _) = try Environment.freeBytes(at: data)
            guard free >= freeBytesMin else {
                throw SystemError(
                    28,
                    "\(data) has \(free >> 10) KiB left, \(freeBytesMin >> 20) MiB are needed; make room or choose another --data-dir"
                )
            }
        } catch {
            throw CommandError("skein up: \(error)")
        }
    }

    /// The agent's directories in the run directory.
    private static let rootDirectories = [
        "attach", "exits", "netns", "network", "pods", "runc", "secrets", "skeletons",
    ]

    private static func makeRootDirectory(_ path: String) throws(SystemError) {
        try File.makeDirectory(path, mode: path.hasSuffix("/pods") ? 0o711 : 0o700)
        guard try File.owner(path) == 0 else {
            throw SystemError(1, "\(path) belongs to somebody else than root; remove it")
        }
    }

    /// Refuses addresses that somebody listens on.
    static func checkPorts(_ options: UpOptions, isAdopting: Bool) throws(CommandError) {
        var wanted = [
            (options.gatewayHTTP, "the gateway's HTTP port", UpOptions.gatewayHTTP),
            (options.gatewayHTTPS, "the gateway's HTTPS port", UpOptions.gatewayHTTPS),
        ]
        if !isAdopting {
            wanted += [
                (options.apiAddress, "the API", UpOptions.api), (options.metricsAddress, "metrics", UpOptions.metrics),
            ]
            if let address = options.registry.address {
                wanted.append((address, "the registry", RegistryFlags.address))
            }
            if let address = options.discoveryAddress { wanted.append((address, "discovery", UpOptions.discovery)) }
        }
        for (address, purpose, flag) in wanted {
            do throws(SystemError) {
                try Socket.listen(on: address).close()
            } catch {
                let hint = "for \(purpose); stop what listens there, or give --\(flag.name) ADDR:PORT"
                throw CommandError("skein up: \(address): \(error.reason) \(hint)")
            }
        }
    }
}
