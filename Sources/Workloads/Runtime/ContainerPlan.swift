internal import IO
internal import Serialization

/// What is needed to make one container: everything that was looked up, so that the making is a plain sequence.
struct ContainerPlan: Sendable {
    var id: String
    var pod: PodManifest
    var container: ContainerManifest
    var image: ContainerImage
    var environment: [String]
    /// Host directories of the pod's volumes by name.
    var volumes: [String: String]
    /// Path of the pod's network namespace; nil = the host's.
    var networkNamespace: String?
    /// The running container whose processes this one sees; nil: its own only.
    var target: ContainerRuntime.Instance?
    var addresses: [String]
    /// Containers on the same networks.
    var neighbours: [(address: String, names: [String])] = []
    var nameserver: String
    var layout: NodeLayout
    var cgroups: MachineCgroups
    var host: HostImage
    /// The proxy's program and bootstrap, for a sidecar or gateway.
    var proxy: Proxy?

    struct Proxy: Sendable {
        var program: String
        /// Whether the program needs nothing but itself.
        var isStatic: Bool
        var bootstrap: JSON
    }
}

extension ContainerPlan {
    /// Writes the bundle; the log's path and the limits that this machine cannot keep come back.
    ///
    /// Blocking.
    func writeBundle(run: Int) throws(WorkloadError) -> (bundle: String, log: String, notApplied: [String]) {
        do {
            let bundle = layout.bundle(pod.uid, id)
            let rootfs = bundle + "/rootfs"
            try File.makeDirectory(rootfs, mode: 0o755)
            let (spec, notApplied) = try specification(bundle: bundle)
            try File.replace(bundle + "/config.json", spec.runtimeConfiguration.bytes, mode: 0o600)
            let logs = layout.logDirectory(pod, container.name)
            try File.makeDirectory(logs, mode: 0o700)
            return (bundle, "\(logs)/\(run).log", notApplied)
        } catch let error as WorkloadError { throw error } catch let error as SystemError {
            throw WorkloadError("CreateContainerError", "\(container.path): cannot write the bundle", error)
        } catch { throw WorkloadError("CreateContainerError", "\(error)") }
    }

    /// The authorities of the machine: the file that `skein-proxy` reads as its system roots.
    static let systemRoots = "/etc/ssl/certs/ca-certificates.crt"

    private func specification(bundle: String) throws -> (ContainerSpec, [String]) {
        let rootfs = bundle + "/rootfs"
        var arguments = image.arguments(container)
        if let proxy { arguments = try proxyArguments(proxy, bundle: bundle) }
        guard !arguments.isEmpty else {
            throw WorkloadError.field(
                "\(container.path).command", "is missing, and image \(container.image) does not say what to run")
        }
        var spec = ContainerSpec(arguments: arguments)
        spec.hostname = pod.hostname
        spec.environment = environment
        spec.networkNamespace = networkNamespace
        spec.processNamespace = target.map { "/proc/\($0.pid)/ns/pid" }
        spec.capabilities = container.capabilities
        spec.hasTerminal = container.hasTerminal
        spec.isConfined = container.isConfined
        spec.allowsPrivilegeEscalation = container.allowsPrivilegeEscalation
        spec.cgroupPath = "\(NodeLayout.cgroup)/\(id)"
        spec.maskedPaths = ContainerSpec.standardMaskedPaths
        spec.groups = container.groups
        let (resources, notApplied) = cgroups.applicable(container.resources)
        spec.resources = resources

        let own = try ownMounts(bundle: bundle)
        switch image.root {
        case .host:
            try hostRoot(&spec, rootfs: rootfs, own: own)
        case .layers(let layers):
            try layeredRoot(&spec, bundle: bundle, layers: layers)
        case .engine(let name):
            throw WorkloadError("CreateContainerError", "image \(name) is the engine's; it runs no container of ours")
        case .proxy:
            for name in ["dev", "etc/skein", "etc/ssl/certs", "proc", "run/skein", "sys", "tmp", "usr/local/bin"] {
                try File.makeDirectory("\(rootfs)/\(name)")
            }
            spec.mounts = ContainerSpec.standardMounts + [.temporary("/tmp", mode: "1777", size: "16m")]
            // Rules with TLS and no authorities of their own mean those of the machine.
            if File.exists(Self.systemRoots) {
                spec.mounts.append(.bind(Self.systemRoots, to: Self.systemRoots, readOnly: true))
            }
        }
        spec.mounts += own

        let user = try user(rootfs: rootfs)
        spec.uid = user.uid
        spec.gid = user.gid
        let directory = container.workingDirectory.isEmpty ? image.config.workingDirectory : container.workingDirectory
        spec.workingDirectory = directory.hasPrefix("/") ? directory : "/"
        return (spec, notApplied)
    }

    private func user(rootfs: String) throws(WorkloadError) -> (uid: UInt32, gid: UInt32) {
        if proxy != nil { return (ContainerManifest.proxyUser, ContainerManifest.proxyUser) }
        if let uid = container.uid { return (uid, container.gid ?? 0) }
        let etc = image.root == .host ? "/etc" : rootfs + "/etc"
        let passwd = (try? File.text(etc + "/passwd")) ?? ""
        let group = (try? File.text(etc + "/group")) ?? ""
        guard let user = UserLookup.resolve(image.config.user, passwd: passwd, group: group) else {
            throw .field(
                container.path, "user \(image.config.user) of image \(container.image) is not in its /etc/passwd")
        }
        guard user.uid != ContainerManifest.proxyUser else {
            throw .field(
                container.path, "image \(container.image) runs as user 1337, which is the proxy's; set runAsUser")
        }
        return (user.uid, container.gid ?? user.gid)
    }

    func proxyArguments(_ proxy: Proxy, bundle: String) throws(SystemError) -> [String] {
        let file = bundle + "/bootstrap.json"
        try File.replace(file, proxy.bootstrap.bytes, mode: 0o444)
        return [SidecarPlan.programPath, "-c", SidecarPlan.bootstrapPath] + SidecarPlan.concurrency(of: pod)
            + container.arguments
    }

    /// The pod's own files and volumes, and the proxy's.
    func ownMounts(bundle: String) throws -> [ContainerSpec.Mount] {
        var mounts: [ContainerSpec.Mount] = []
        if let proxy {
            mounts += [
                .bind(proxy.program, to: SidecarPlan.programPath, readOnly: true),
                .bind(bundle + "/bootstrap.json", to: SidecarPlan.bootstrapPath, readOnly: true),
                .bind(layout.sockets(pod.uid), to: SidecarPlan.socketDirectory, readOnly: true),
                .bind(layout.proxyState(pod.uid), to: SidecarPlan.stateDirectory, readOnly: false),
            ]
        }
        if !pod.usesHostNetwork || image.root != .host {
            let directory = layout.pod(pod.uid) + "/etc"
            try File.makeDirectory(directory, mode: 0o755)
            try File.replace(
                directory + "/hosts", Array(PodFiles.hosts(pod, addresses: addresses, neighbours: neighbours).utf8))
            try File.replace(directory + "/hostname", Array((pod.hostname + "\n").utf8))
            let resolver =
                pod.usesHostNetwork
                ? (try? File.text("/etc/resolv.conf")) ?? ""
                : PodFiles.resolverConfiguration(pod, nameserver: nameserver)
            try File.replace(directory + "/resolv.conf", Array(resolver.utf8))
            for name in ["hosts", "hostname", "resolv.conf"] {
                mounts.append(.bind("\(directory)/\(name)", to: "/etc/\(name)", readOnly: true))
            }
        }
        for mount in container.mounts {
            guard let source = volumes[mount.volume] else { continue }
            var path = source
            if !mount.subPath.isEmpty {
                path = "\(source)/\(mount.subPath)"
                // A link in a volume that a container can write must not lead out of the volume, neither here …
                if !File.exists(path), pod.volumes[mount.volume]?.source.isWritten == true,
                    let base = File.realPath(source), (HostPath.existing(path) + "/").hasPrefix(base + "/")
                {
                    try File.makeDirectory(path)
                }
                // … nor there.
                guard let real = File.realPath(path), let base = File.realPath(source), real.hasPrefix(base + "/")
                else {
                    throw WorkloadError.field(
                        "\(container.path).volumeMounts", "subPath \(mount.subPath) is not in volume \(mount.volume)")
                }
                path = real
            }
            var isReadOnly = mount.isReadOnly
            switch pod.volumes[mount.volume]?.source {
            case .configMap, .secret, .downward, .projected: isReadOnly = true
            case .claim(_, let readOnly): isReadOnly = isReadOnly || readOnly
            case .emptyDirectory, .hostPath, nil: break
            }
            mounts.append(.bind(path, to: mount.path, readOnly: isReadOnly))
        }
        return mounts
    }

    private func hostRoot(_ spec: inout ContainerSpec, rootfs: String, own: [ContainerSpec.Mount]) throws {
        for name in HostImage.emptyDirectories { try File.makeDirectory("\(rootfs)/\(name)") }
        for entry in host.entries {
            switch entry {
            case .link(let name, let target):
                if !File.exists("\(rootfs)/\(name)") { try File.symlink(target, at: "\(rootfs)/\(name)") }
            case .directory(let name): try File.makeDirectory("\(rootfs)/\(name)")
            }
        }
        let skeleton = layout.skeleton(id)
        let (mounts, missing) = host.mounts(destinations: own.map(\.destination), skeleton: skeleton) {
            File.exists($0)
        }
        for path in missing {
            let source = own.first { $0.destination == path }?.source ?? ""
            if File.isDirectory(source) {
                try File.makeDirectory(skeleton + path)
            } else {
                try File.makeDirectory(File.parent(of: skeleton + path))
                try File.append(skeleton + path, [])
            }
        }
        spec.mounts =
            mounts + ContainerSpec.standardMounts + [
                .temporary("/tmp", mode: "1777", size: "256m", executable: true),
                .temporary("/run", mode: "755", size: "64m"),
            ]
        let ours = [layout.dataDirectory, layout.runDirectory].flatMap { [$0, File.realPath($0) ?? $0] }
        let names = (try? File.list("/etc")) ?? []
        let backups = names.filter { $0.hasPrefix("shadow") || $0.hasPrefix("gshadow") }.map { "/etc/" + $0 }
        // What is masked must be there: the runtime passes over what is missing.
        // What is mounted for the container itself stays: a proxy's sockets are where the machine's are.
        spec.maskedPaths += Set(HostImage.secrets + ours + backups).subtracting(own.map(\.destination)).sorted()
    }

    private func layeredRoot(_ spec: inout ContainerSpec, bundle: String, layers: [String]) throws {
        let rootfs = bundle + "/rootfs"
        // The namespace that conmon starts in sees the mount; it goes with `unmount` when the container is removed.
        if try Mount.points(below: rootfs).isEmpty {
            try File.makeDirectory(bundle + "/upper")
            try File.makeDirectory(bundle + "/work")
            try Mount.overlay(at: rootfs, lower: layers, upper: (bundle + "/upper", bundle + "/work"))
        }
        spec.isRootReadOnly = container.hasReadOnlyRoot
        spec.mounts = ContainerSpec.standardMounts
    }
}
