internal import Docker
internal import IO
package import Serialization

/// What `skein run` was told, in Docker's words, and the pod that it means.
///
/// Pure.
package struct RunWish: Sendable, Hashable {
    /// `--name`.
    package var name: String
    /// The image.
    package var image: String
    /// What stands behind the image.
    package var command: [String] = []
    /// `--entrypoint`.
    package var entrypoint: String?
    /// `--network`.
    package var network = "bridge"
    /// `--ip`, `--ip6`, `--mac-address`.
    package var ip: String?
    /// See `ip`.
    package var ip6: String?
    /// See `ip`.
    package var hardware: String?
    /// `--network-alias`.
    package var aliases: [String] = []
    /// `-p`.
    package var ports: [String] = []
    /// `-e`, each `NAME=VALUE`.
    package var environment: [String] = []
    /// `-v`.
    package var volumes: [String] = []
    /// `-w`.
    package var directory: String?
    /// `-u`.
    package var user: String?
    /// `--hostname`.
    package var hostname: String?
    /// `-l`, each `NAME=VALUE`.
    package var labels: [String] = []
    /// `--restart`.
    package var restart = "no"
    /// `--add-host`, each `NAME:ADDRESS`.
    package var hosts: [String] = []
    /// `-m`, as Docker writes it: `64m`.
    package var memory: String?
    /// `--cpus`.
    package var processors: String?
    /// `--read-only`.
    package var isReadOnly = false
    /// `-i`.
    package var hasInput = false
    /// `-t`.
    package var hasTerminal = false
    /// `--cap-add` and `--cap-drop`.
    package var addedCapabilities: [String] = []
    /// See `addedCapabilities`.
    package var droppedCapabilities: [String] = []

    /// A container of that image.
    package init(name: String, image: String) {
        self.name = name
        self.image = image
    }

    /// The label by which containers are told from other pods; its value is the name.
    package static let label = "skein.dev/run"
    /// Networks that `--network` names although nobody has made them.
    package static let predefinedNetworks = ["mesh", "host", "none", "bridge"]
    /// What the pod's only container is called.
    static let containerName = "main"
    /// Seconds that a container has to end, as Docker gives it.
    private static let graceSeconds = 10

    private static func refusal(_ flag: String, _ problem: String) -> WorkloadError {
        WorkloadError("InvalidContainer", "\(flag): \(problem)")
    }

    /// The Pod object.
    package func pod() throws(WorkloadError) -> JSON {
        guard Self.isName(name) else {
            throw Self.refusal(
                "--name",
                "invalid container name (\(name.prefix(80))): only [a-z0-9] and, within, [a-z0-9-] are allowed, at most 63"
            )
        }
        let (mounts, volumes) = try volumeObjects()
        var container: JSON = [
            "name": .string(Self.containerName), "image": .string(image), "imagePullPolicy": "IfNotPresent",
            "args": .array(command.map { .string($0) }), "env": .array(try environmentObjects()),
            "volumeMounts": .array(mounts), "stdin": .bool(hasInput), "tty": .bool(hasTerminal),
            "securityContext": .object(try security()),
        ]
        if let entrypoint { container["command"] = [.string(entrypoint)] }
        if let directory { container["workingDir"] = .string(directory) }
        let limits = try limits()
        if !limits.isEmpty { container["resources"] = ["limits": .object(limits)] }
        var labels: [String: JSON] = [Self.label: .string(name)]
        var annotations: [String: JSON] = [:]
        for label in self.labels {
            let (key, value) = Self.divided(label, at: "=")
            // Docker's labels may say anything; what Kubernetes' may not stands in an annotation.
            if Self.isLabel(value) { labels[key] = .string(value) } else { annotations[key] = .string(value) }
        }
        if let text = try networksText() {
            annotations[ContainerWish.annotation] = .string(text)
            labels["sidecar.istio.io/inject"] = "false"
        }
        var spec: JSON = [
            "restartPolicy": .string(try restartPolicy()), "volumes": .array(volumes), "containers": [container],
            "terminationGracePeriodSeconds": .integer(Int64(Self.graceSeconds)),
            "hostNetwork": .bool(network == "host"), "automountServiceAccountToken": .bool(network == "mesh"),
        ]
        if let hostname { spec["hostname"] = .string(hostname) }
        if !hosts.isEmpty {
            var entries: [JSON] = []
            for host in hosts {
                let (name, address) = Self.divided(host, at: ":")
                guard IPAddress(address) != nil, !name.isEmpty else {
                    throw Self.refusal("--add-host", "bad format for add-host: \"\(host)\"")
                }
                entries.append(["ip": .string(address), "hostnames": [.string(name)]])
            }
            spec["hostAliases"] = .array(entries)
        }
        return [
            "apiVersion": "v1", "kind": "Pod",
            "metadata": [
                "name": .string(name), "namespace": "default", "labels": .object(labels),
                "annotations": .object(annotations),
            ],
            "spec": spec,
        ]
    }

    private static func isName(_ text: String) -> Bool {
        func isPlain(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte) }
        guard let first = text.utf8.first, let last = text.utf8.last, text.utf8.count <= 63 else { return false }
        return isPlain(first) && isPlain(last) && text.utf8.allSatisfy { isPlain($0) || $0 == 0x2d }
    }

    private static func isLabel(_ value: String) -> Bool {
        func isPlain(_ character: Character) -> Bool { character.isASCII && (character.isLetter || character.isNumber) }
        guard let first = value.first, let last = value.last else { return true }
        return value.utf8.count <= 63 && isPlain(first) && isPlain(last)
            && value.allSatisfy { isPlain($0) || "._-".contains($0) }
    }

    private static func divided(_ text: String, at mark: Character) -> (String, String) {
        guard let index = text.firstIndex(of: mark) else { return (text, "") }
        return (String(text[..<index]), String(text[text.index(after: index)...]))
    }

    // MARK: Networks

    /// The annotation of a container on networks of its own; nil for one on the pods' or the machine's.
    private func networksText() throws(WorkloadError) -> String? {
        let wishes = [("--ip", ip), ("--ip6", ip6), ("--mac-address", hardware)]
        switch network {
        case "mesh", "host":
            if let (flag, _) = wishes.first(where: { $0.1 != nil }) {
                throw Self.refusal(
                    flag, "network \(network) has no address of one's choice; make one: skein network create")
            }
            guard ports.isEmpty, aliases.isEmpty else {
                throw Self.refusal(
                    ports.isEmpty ? "--network-alias" : "-p",
                    network == "host"
                        ? "a container on the machine's own network has its ports and names"
                        : "pods are reached by a Service or a Gateway; or take another --network")
            }
            return nil
        case "none":
            if let (flag, _) = wishes.first(where: { $0.1 != nil }) { throw Self.refusal(flag, "there is no network") }
            guard ports.isEmpty else {
                throw Self.refusal("-p", "a container without a network has no port to publish")
            }
            return (["networks": [], "ports": []] as JSON).text
        default: break
        }
        guard !network.contains(":") else {
            throw Self.refusal(
                "--network", "\(network): another container's network is not supported; use a pod with two containers")
        }
        var entry: JSON = ["name": .string(network), "aliases": .array(aliases.map { .string($0) })]
        if let ip { entry["ip"] = .string(ip) }
        if let ip6 { entry["ip6"] = .string(ip6) }
        if let hardware { entry["mac"] = .string(hardware) }
        var published: [JSON] = []
        for port in ports { published += try Self.publication(port) }
        return (["networks": [entry], "ports": .array(published)] as JSON).text
    }

    /// The annotation's text with one network more (`entry`) or less, so that the container is there again when its pod is made anew;
    /// nil when the text is none of ours.
    package static func networksText(_ text: String, connecting entry: JSON? = nil, leaving name: String = "")
        -> String?
    {
        guard var json = try? JSON.parse(text), let networks = json["networks"]?.array else { return nil }
        json["networks"] = .array(
            networks.filter { $0["name"]?.string != (entry?["name"]?.string ?? name) } + (entry.map { [$0] } ?? []))
        return json.text
    }

    /// `[[HOST-ADDRESS:]HOST-PORT:]PORT[/PROTOCOL]`, where ports may be ranges of one length.
    static func publication(_ text: String) throws(WorkloadError) -> [JSON] {
        func invalid() -> WorkloadError { refusal("-p", "invalid publish opts format (\(text))") }
        let (front, word) = divided(text, at: "/")
        guard let transport = ["": 6, "tcp": 6, "udp": 17, "sctp": 132][word.lowercased()] else {
            throw refusal("-p", "invalid proto: \(word)")
        }
        var rest = front[...]
        var address = ""
        if rest.hasPrefix("[") {
            guard let end = rest.firstIndex(of: "]") else { throw invalid() }
            address = String(rest[rest.index(after: rest.startIndex)..<end])
            rest = rest[rest.index(after: end)...].drop { $0 == ":" }
        }
        var parts = rest.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        if parts.count == 3, address.isEmpty { address = parts.removeFirst() }
        guard (1...2).contains(parts.count), let inside = parts.last.flatMap(range) else { throw invalid() }
        if !address.isEmpty, IPAddress(address) == nil { throw refusal("-p", "invalid IP address: \(address)") }
        let outside = parts.count == 2 && parts[0] != "" ? range(parts[0]) : nil
        if parts.count == 2, parts[0] != "", outside == nil { throw invalid() }
        if let outside, inside.count > 1, outside.count != inside.count {
            throw refusal("-p", "invalid ranges specified for container and host Ports: \(parts[1]) and \(parts[0])")
        }
        return inside.enumerated().map { number, port in
            var json: JSON = ["Proto": .integer(Int64(transport)), "Port": .integer(Int64(port))]
            if !address.isEmpty { json["HostIP"] = .string(address) }
            if let outside {
                let first = inside.count > 1 ? outside.lowerBound + number : outside.lowerBound
                json["HostPort"] = .integer(Int64(first))
                json["HostPortEnd"] = .integer(Int64(inside.count > 1 ? first : outside.upperBound))
            }
            return json
        }
    }

    private static func range(_ text: String) -> ClosedRange<Int>? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        guard let first = parts.first ?? nil, let last = parts.last ?? nil, parts.count <= 2,
            first > 0, last <= 65_535, first <= last, last - first < 1024
        else { return nil }
        return first...last
    }

    // MARK: The container

    private func restartPolicy() throws(WorkloadError) -> String {
        switch Self.divided(restart, at: ":").0 {
        case "no", "": return "Never"
        case "always", "unless-stopped": return "Always"
        case "on-failure" where restart == "on-failure": return "OnFailure"
        case "on-failure": throw Self.refusal("--restart", "\(restart): tries are not counted; say on-failure")
        default: throw Self.refusal("--restart", "invalid restart policy: \(restart)")
        }
    }

    private func environmentObjects() throws(WorkloadError) -> [JSON] {
        var entries: [JSON] = []
        for entry in environment {
            let (name, value) = Self.divided(entry, at: "=")
            guard !name.isEmpty else { throw Self.refusal("-e", "invalid environment variable: \(entry)") }
            // A dollar sign means nothing to Docker, and a reference to Kubernetes.
            entries.append(["name": .string(name), "value": .string(value.replacing("$", with: "$$"))])
        }
        return entries
    }

    private func volumeObjects() throws(WorkloadError) -> (mounts: [JSON], volumes: [JSON]) {
        var mounts: [JSON] = []
        var volumes: [JSON] = []
        for (number, text) in self.volumes.enumerated() {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            let name = "v\(number)"
            guard (1...3).contains(parts.count), let target = parts.count == 1 ? parts.first : parts[1],
                target.hasPrefix("/")
            else { throw Self.refusal("-v", "invalid volume specification: '\(text)'") }
            var mount: JSON = ["name": .string(name), "mountPath": .string(target)]
            if parts.count == 3 {
                guard ["ro", "rw"].contains(parts[2]) else {
                    throw Self.refusal("-v", "invalid mode: \(parts[2]): ro and rw are known")
                }
                mount["readOnly"] = .bool(parts[2] == "ro")
            }
            mounts.append(mount)
            if parts.count == 1 {
                volumes.append(["name": .string(name), "emptyDir": [:]])
            } else {
                guard parts[0].hasPrefix("/") else {
                    throw Self.refusal(
                        "-v", "\(parts[0]): volumes with names are PersistentVolumeClaims; here a path is expected")
                }
                volumes.append(["name": .string(name), "hostPath": ["path": .string(parts[0])]])
            }
        }
        return (mounts, volumes)
    }

    private func security() throws(WorkloadError) -> [String: JSON] {
        var security: [String: JSON] = [
            "allowPrivilegeEscalation": true, "readOnlyRootFilesystem": .bool(isReadOnly),
            "capabilities": [
                "add": .array(addedCapabilities.map { .string($0) }),
                "drop": .array(droppedCapabilities.map { .string($0) }),
            ],
        ]
        if let user {
            let (uid, gid) = Self.divided(user, at: ":")
            guard let number = UInt32(uid), gid.isEmpty || UInt32(gid) != nil else {
                throw Self.refusal("-u", "\(user): numbers are expected, as in 1000:1000")
            }
            security["runAsUser"] = .integer(Int64(number))
            if let group = UInt32(gid) { security["runAsGroup"] = .integer(Int64(group)) }
        }
        return security
    }

    private func limits() throws(WorkloadError) -> [String: JSON] {
        var limits: [String: JSON] = [:]
        if let memory {
            let units: [Character: String] = ["b": "", "k": "Ki", "m": "Mi", "g": "Gi"]
            let unit = memory.lowercased().last.flatMap { units[$0] }
            let number = unit == nil ? memory : String(memory.dropLast())
            guard let value = Int(number), value > 0 else { throw Self.refusal("-m", "invalid size: '\(memory)'") }
            limits["memory"] = .string("\(value)\(unit ?? "")")
        }
        if let processors {
            guard let value = Double(processors), value > 0, value < 100_000 else {
                throw Self.refusal("--cpus", "invalid value '\(processors)'")
            }
            limits["cpu"] = .string("\(Int(value * 1000))m")
        }
        return limits
    }
}
