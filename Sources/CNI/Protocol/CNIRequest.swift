internal import IO

/// The parameters of a verb, out of the environment (CNI specification section 2, "Parameters").
struct CNIRequest: Hashable, Sendable {
    var verb: CNIVerb
    /// Empty for verbs that concern no container.
    var containerID = ""
    /// The path of the container's namespace; empty where a DEL comes too late for it.
    var namespace = ""
    /// The interface's name inside.
    var interface = ""
    /// Directories in which other plugins lie.
    var path: [String] = []
    var arguments = CNIArguments()

    /// Reads and checks the variables that the verb needs.
    ///
    /// VERSION is answered before anything else is looked at: podman calls it with dummy values (wire facts, section 3).
    init(variable: (String) -> String?) throws(CNIError) {
        guard let word = variable("CNI_COMMAND"), !word.isEmpty else {
            throw CNIError(
                .invalidEnvironment,
                "CNI_COMMAND is missing: this program is called by a container runtime, with one of "
                    + CNIVerb.allCases.map(\.rawValue).joined(separator: ", "))
        }
        guard let verb = CNIVerb(rawValue: word) else {
            throw CNIError(.invalidEnvironment, "CNI_COMMAND is '\(word)', which is no verb of the specification")
        }
        self.verb = verb
        path = (variable("CNI_PATH") ?? "").split(separator: ":").map(String.init)
        guard [.add, .delete, .check].contains(verb) else { return }
        containerID = try CNIRequest.required("CNI_CONTAINERID", variable)
        guard CNIRequest.isIdentifier(containerID) else {
            throw CNIError(
                .invalidEnvironment,
                "CNI_CONTAINERID is '\(containerID.prefix(80))': letters, digits, '_', '.' and '-' are allowed, "
                    + "and a letter or digit begins it")
        }
        interface = try CNIRequest.required("CNI_IFNAME", variable)
        if let problem = CNIRequest.problem(ofInterface: interface) {
            throw CNIError(.invalidEnvironment, "CNI_IFNAME is '\(interface.prefix(80))': \(problem)")
        }
        namespace = variable("CNI_NETNS") ?? ""
        guard verb == .delete || !namespace.isEmpty else {
            throw CNIError(.invalidEnvironment, "CNI_NETNS is missing: it names the container's network namespace")
        }
        arguments = try CNIArguments(variable("CNI_ARGS") ?? "")
    }

    /// By what addresses, links and rules of this attachment are found again.
    var owner: AttachmentOwner { AttachmentOwner(containerID: containerID, interface: interface) }

    private static func required(_ name: String, _ variable: (String) -> String?) throws(CNIError) -> String {
        guard let value = variable(name), !value.isEmpty else {
            throw CNIError(.invalidEnvironment, "\(name) is missing")
        }
        return value
    }

    /// The specification's pattern for container ids and network names: `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`.
    static func isIdentifier(_ text: String) -> Bool {
        guard let first = text.utf8.first, isAlphanumeric(first), text.utf8.count <= 255 else { return false }
        return text.utf8.allSatisfy { isAlphanumeric($0) || $0 == 0x5f || $0 == 0x2e || $0 == 0x2d }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
        default: false
        }
    }

    /// Why the kernel would refuse that name of an interface; nil when it would not.
    static func problem(ofInterface name: String) -> String? {
        if name.isEmpty { return "a name is missing" }
        if name.utf8.count > 15 { return "the kernel's names have at most 15 bytes" }
        if name == "." || name == ".." { return "the kernel has no such name" }
        let isBad = name.utf8.contains {
            $0 <= 0x20 || $0 >= 0x7f || $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: ":")
        }
        return isBad ? "a name has no '/', no ':', no space" : nil
    }
}

/// `CNI_ARGS`: `NAME=value;NAME=value`.
struct CNIArguments: Hashable, Sendable {
    /// Addresses that the container shall have (`IP`, comma-separated).
    var addresses: [String] = []
    /// The hardware address that it shall have (`MAC`).
    var hardware: String?
    /// `namespace/name` of the pod, when the runtime says so.
    var pod = ""

    init() {}

    /// Names that carry information for people only.
    private static let informative: Set = ["K8S_POD_INFRA_CONTAINER_ID", "K8S_POD_UID"]

    /// Reads them; an unknown name is an error unless `IgnoreUnknown` is set.
    init(_ text: String) throws(CNIError) {
        var (namespace, name) = ("", "")
        var unknown: [String] = []
        var isLenient = false
        for pair in text.split(separator: ";") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, !parts[0].isEmpty else {
                throw CNIError(.invalidEnvironment, "CNI_ARGS: '\(pair.prefix(80))' is not of the form NAME=value")
            }
            switch parts[0] {
            case "IgnoreUnknown": isLenient = ["1", "t", "true", "T", "TRUE", "True"].contains(parts[1])
            case "IP": addresses = parts[1].split(separator: ",").map(String.init)
            case "MAC": hardware = parts[1]
            case "K8S_POD_NAMESPACE": namespace = parts[1]
            case "K8S_POD_NAME": name = parts[1]
            case let known where CNIArguments.informative.contains(known): break
            default: unknown.append(parts[0])
            }
        }
        if let first = unknown.first, !isLenient {
            throw CNIError(
                .invalidEnvironment, "CNI_ARGS: '\(first.prefix(80))' is unknown (IgnoreUnknown=1 lets it pass)")
        }
        pod = namespace.isEmpty ? name : "\(namespace)/\(name)"
    }
}

/// Who has an address, a link, a port: a container and one of its interfaces (N-9).
struct AttachmentOwner: Hashable, Sendable, CustomStringConvertible {
    var containerID: String
    var interface: String

    /// `CONTAINER/INTERFACE`.
    var description: String { "\(containerID)/\(interface)" }

    /// 128 bits of FNV-1a over `CONTAINER/INTERFACE`: what the address file keeps, in 16 bytes.
    var key: UInt128 {
        var hash: UInt128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d
        for byte in description.utf8 { hash = (hash ^ UInt128(byte)) &* 0x100_0000_0000_0000_0000_013b }
        // Zero means "nobody".
        return hash == 0 ? 1 : hash
    }

    /// The host's end of the link: `skc` and eleven hexadecimal digits of the key.
    var hostLink: String { AttachmentOwner.hostLink(key) }

    /// Whether that is the name of some owner's end of a link.
    static func isHostLink(_ name: String) -> Bool {
        name.hasPrefix("skc") && name.utf8.count == 14 && name.dropFirst(3).allSatisfy { $0.isHexDigit && $0.isASCII }
    }

    /// The host's end of the link of the owner with that key.
    static func hostLink(_ key: UInt128) -> String {
        let digits = String(UInt64(truncatingIfNeeded: key >> 64) >> 20, radix: 16)
        return "skc" + String(repeating: "0", count: max(0, 11 - digits.count)) + digits
    }
}
