public import Serialization

extension ContainerSpec {
    /// The specification as `config.json` of the OCI runtime specification 1.0.
    public var runtimeConfiguration: JSON {
        [
            "ociVersion": "1.0.2",
            "process": process,
            "root": ["path": .string(rootPath), "readonly": .bool(isRootReadOnly)],
            "hostname": .string(hostname),
            "mounts": .array(mounts.map(\.runtimeConfiguration)),
            "linux": linux,
        ]
    }

    /// The part of it that describes a process; `runc exec -p` takes it too.
    var process: JSON {
        let held = JSON.array(capabilities.sorted().map { .string($0) })
        var user: JSON = ["uid": .integer(Int64(uid)), "gid": .integer(Int64(gid))]
        if !groups.isEmpty { user["additionalGids"] = .array(groups.map { .integer(Int64($0)) }) }
        return [
            "terminal": .bool(hasTerminal),
            "user": user,
            "args": .array(arguments.map { .string($0) }),
            "env": .array(environment.map { .string($0) }),
            "cwd": .string(workingDirectory),
            // A process that is not root holds what the bounding set allows only by a file's capabilities, as in Docker.
            "capabilities": uid == 0
                ? ["bounding": held, "effective": held, "permitted": held]
                : ["bounding": held, "effective": [], "permitted": []],
            "noNewPrivileges": .bool(!allowsPrivilegeEscalation),
            "rlimits": [],
        ]
    }

    private var linux: JSON {
        var namespaces: [JSON] = [["type": "uts"], ["type": "mount"]]
        namespaces.append(processNamespace.map { ["type": "pid", "path": .string($0)] } ?? ["type": "pid"])
        namespaces.append(ipcNamespace.map { ["type": "ipc", "path": .string($0)] } ?? ["type": "ipc"])
        if let networkNamespace { namespaces.append(["type": "network", "path": .string(networkNamespace)]) }
        var linux: JSON = [
            "namespaces": .array(namespaces),
            "cgroupsPath": .string(cgroupPath),
            "resources": resources.runtimeConfiguration,
            "maskedPaths": .array(maskedPaths.map { .string($0) }),
            "readonlyPaths": .array(readonlyPaths.map { .string($0) }),
        ]
        if isConfined { linux["seccomp"] = SeccompProfile.standard(capabilities: capabilities) }
        return linux
    }
}

extension ContainerSpec.Mount {
    var runtimeConfiguration: JSON {
        [
            "destination": .string(destination), "type": .string(type), "source": .string(source),
            "options": .array(options.map { .string($0) }),
        ]
    }
}

extension ContainerSpec.Resources {
    /// Length of a scheduling period in microseconds, as Kubernetes sets it.
    private static let cpuPeriod = 100_000
    /// A quota below a millisecond is refused by the kernel.
    private static let cpuQuotaMin = 1_000

    var runtimeConfiguration: JSON {
        // Devices: all refused, then the runtime adds null, zero, full, random, urandom, tty and pts.
        var resources: JSON = ["devices": [["allow": false, "access": "rwm"]]]
        var cpu: JSON = [:]
        if let cpuLimitMillis {
            let quota = cpuLimitMillis.multipliedReportingOverflow(by: Self.cpuPeriod / 1000)
            cpu["quota"] = .integer(Int64(max(Self.cpuQuotaMin, quota.overflow ? .max : quota.partialValue)))
            cpu["period"] = .integer(Int64(Self.cpuPeriod))
        }
        // 1024 shares are one processor; 2 is the kernel's least.
        let weight = cpuRequestMillis ?? cpuLimitMillis
        if let weight {
            cpu["shares"] = .integer(Int64(min(262_144, max(2, weight / 1000 * 1024 + weight % 1000 * 1024 / 1000))))
        }
        if cpu != [:] { resources["cpu"] = cpu }
        if let memoryLimitBytes { resources["memory"] = ["limit": .integer(Int64(memoryLimitBytes))] }
        if let processesMax { resources["pids"] = ["limit": .integer(Int64(processesMax))] }
        return resources
    }
}
